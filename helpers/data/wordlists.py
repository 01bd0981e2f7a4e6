"""Word lists for the token labels: lower-case words, one list per label.

Nouns are listed in the singular, and `plural` adds the regular plurals; irregular plurals are listed too. A
word may be in several lists. A word with two common meanings is listed only if one of them is by far more
frequent in encyclopaedias and reviews, so `record`, `kind` and `like` are in no list.
"""

from __future__ import annotations


def plural(noun: str) -> str:
    """Return the regular English plural of a lower-case noun."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def _nouns(singular: str, as_is: str = "") -> frozenset[str]:
    names = singular.split()
    return frozenset([*names, *map(plural, names), *as_is.split()])


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _degree(adjective: str) -> tuple[str, str]:
    """Return comparative and superlative of a short adjective; a final `!` doubles the last letter."""
    if adjective.endswith("!"):
        stem = adjective[:-1] + adjective[-2]
    elif adjective.endswith("y"):
        stem = adjective[:-1] + "i"
    else:
        stem = adjective.removesuffix("e")
    return stem + "er", stem + "est"


_ADJECTIVES = (
    "big! hot! sad! fat! thin! wet! fit! red! great small large long short high low old young new late early easy "
    "happy heavy light dark bright strong weak fast slow hard soft warm cold cool deep wide narrow broad rich poor "
    "cheap clean clear close near few dear fine nice safe simple strange sweet tall thick tight tough rough smooth "
    "sharp steep quick quiet loud kind mild wild wise brave busy dirty dry funny healthy lovely lucky noisy pretty "
    "scary silly tasty tiny ugly wealthy angry hungry lazy crazy friendly lonely likely fresh full proud pure rare "
    "gentle humble able grand harsh plain odd smart strict vast worthy creamy crispy soon"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"

WORDS: dict[str, frozenset[str]] = {
    "number word": _words(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        f"seventeen eighteen nineteen {_TENS} hundred thousand million billion trillion dozen hundreds thousands "
        "millions billions trillions dozens twenties thirties forties fifties sixties seventies eighties nineties"
    ),
    "ordinal": _words(
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
        "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth thirtieth fortieth fiftieth sixtieth "
        "seventieth eightieth ninetieth hundredth thousandth millionth firstly secondly thirdly"
    ),
    # March, May and August need a capital: see labels.py.
    "month": _words("january february april june july september october november december"),
    "weekday": _nouns("monday tuesday wednesday thursday friday saturday sunday"),
    "first person pronoun": _words("i me my mine myself we us our ours ourselves"),
    "second person pronoun": _words("you your yours yourself yourselves"),
    "third person pronoun": _words(
        "he him his himself she her hers herself it its itself they them their theirs themselves"
    ),
    "negation": _words("not no never none nobody nothing nowhere neither nor cannot"),
    "modal verb": _words("can could will would shall should may might must ought cannot"),
    "past of to be": _words("was were"),
    "present of to be": _words("am is are"),
    "article": _words("a an the"),
    "conjunction": _words(
        "and or but nor yet so because although though while whereas unless if whether until since than"
    ),
    "question word": _words("who whom whose what which when where why how whoever whatever whichever wherever"),
    "preposition": _words(
        "of in to for with on at from by about into through during after before under over between against without "
        "within among amongst along across behind beyond beneath beside besides near toward towards upon above below "
        "off onto around throughout despite except inside outside until since via per amid underneath alongside"
    ),
    "comparative": frozenset(_degree(a)[0] for a in _ADJECTIVES)
    | _words("better worse more less further farther elder"),
    "superlative": frozenset(_degree(a)[1] for a in _ADJECTIVES)
    | _words("best worst most least furthest farthest eldest foremost"),
    # Abbreviations, `feet` and `second` depend on the words around them: see labels.py.
    "unit of measure": _nouns(
        "metre meter kilometre kilometer centimetre centimeter millimetre millimeter mile inch gram gramme kilogram "
        "tonne ton ounce litre liter gallon pint acre hectare minute hour teaspoon tablespoon kilowatt megawatt volt "
        "watt knot milligram millilitre",
        "pounds yards degrees seconds percent cups",
    ),
    "family word": _nouns(
        "mother father parent brother sister daughter son uncle aunt cousin nephew niece grandmother grandfather "
        "grandparent grandson granddaughter grandchild husband stepfather stepmother sibling mum mom dad mommy "
        "daddy mummy grandma grandpa granny twin spouse bride widow family child baby",
        "wife wives children grandchildren",
    ),
    "food word": _nouns(
        "food meal bread cheese butter egg meat beef pork chicken ham bacon sausage soup salad rice pasta noodle pizza "
        "sandwich burger cake pie cookie biscuit chocolate sugar salt pepper garlic onion carrot bean pea apple banana "
        "lemon cherry grape strawberry fruit vegetable sauce cream milk coffee tea wine beer juice honey flour dessert "
        "breakfast lunch dinner supper recipe steak curry mushroom corn wheat nut spice pancake",
        "potato potatoes tomato tomatoes loaf loaves",
    ),
    "body word": _nouns(
        "head hair eye ear nose mouth lip tongue throat neck shoulder arm elbow wrist hand finger thumb chest heart "
        "lung stomach leg knee ankle toe skin bone skull muscle brain blood vein rib chin cheek forehead eyebrow spine "
        "kidney liver belly jaw beard hip waist thigh palm",
        "foot feet tooth teeth",
    ),
    "colour": _nouns(
        "red blue green yellow black white brown grey gray orange purple pink violet crimson scarlet turquoise beige "
        "maroon indigo magenta cyan colour color",
        "golden reddish bluish greenish yellowish whitish brownish silvery coloured colored",
    ),
    "place word": _nouns(
        "city town village country county state region district province capital island river lake sea ocean mountain "
        "hill valley forest desert coast beach bay harbour harbor port road street avenue bridge park garden square "
        "church castle palace school university hospital museum library station airport hotel restaurant market farm "
        "house building area peninsula continent suburb neighbourhood neighborhood border"
    ),
    "place name": _words(
        "england scotland wales ireland britain france germany italy spain portugal greece poland russia ukraine "
        "sweden norway denmark finland austria switzerland belgium netherlands hungary turkey egypt israel iraq iran "
        "india pakistan china japan korea vietnam thailand indonesia australia canada mexico brazil argentina chile "
        "peru nigeria kenya africa asia europe america london paris berlin rome madrid lisbon vienna prague warsaw "
        "athens istanbul cairo nairobi lagos delhi tokyo sydney toronto oslo stockholm seoul boston chicago "
        "philadelphia manchester liverpool birmingham dublin edinburgh moscow california texas florida ohio virginia "
        "michigan pennsylvania illinois massachusetts hawaii alaska"
    ),
    "positive opinion": _words(
        "good great excellent wonderful amazing fantastic superb brilliant beautiful lovely delightful delicious "
        "perfect best awesome charming enjoyable enjoyed fun funny happy glad pleased pleasant nice love loved loves "
        "impressive outstanding remarkable magnificent terrific fabulous splendid marvelous marvellous exciting "
        "fascinating engaging entertaining memorable inspiring inspired gorgeous stunning friendly helpful comfortable "
        "tasty fresh elegant clever witty masterpiece recommend recommended admirable captivating satisfying satisfied "
        "refreshing touching thrilling hilarious exceptional favourite favorite praise praised acclaimed joy joyful"
    ),
    "negative opinion": _words(
        "bad terrible awful horrible dreadful poor worst worse boring bored dull disappointing disappointed "
        "disappointment mediocre ugly stupid silly annoying annoyed tedious lame weak useless pathetic disgusting "
        "nasty unpleasant sad unhappy angry hate hated hates rude dirty bland tasteless stale cheap waste wasted fails "
        "failed failure lousy ridiculous predictable pointless shallow messy clumsy confusing frustrating frustrated "
        "painful uninspired unfunny unbearable overpriced cliched mess flawed flat lifeless pretentious criticised "
        "criticized inferior depressing miserable nightmare regret disaster"
    ),
    "music word": _nouns(
        "music song album band singer guitar guitarist piano pianist violin violinist drum drummer orchestra symphony "
        "opera concert melody chord lyric choir composer musician jazz tune vocal vocalist flute trumpet cello sonata "
        "rhythm concerto ballad hymn songwriter saxophone bassist bass tempo chorus harmony",
        "musical musically sing sings sang sung singing",
    ),
    "war word": _nouns(
        "war army battle soldier troop navy fleet regiment battalion brigade infantry cavalry artillery weapon gun "
        "rifle bomb missile attack siege invasion general colonel lieutenant sergeant admiral commander officer "
        "squadron battleship cruiser destroyer warship submarine torpedo enemy casualty ceasefire military militia "
        "garrison",
        "march marched marching wartime armed bombed bombing fought invaded combat",
    ),
    "sport word": _nouns(
        "game match team player coach season league championship tournament goal goalkeeper striker football soccer "
        "basketball baseball tennis cricket rugby golf hockey boxing boxer swimmer olympic stadium referee batsman "
        "bowler quarterback touchdown innings athlete marathon racing wicket midfielder defender playoff medal sport",
        "champion champions olympics scored teammate teammates",
    ),
    "film or book word": _nouns(
        "film movie book novel story director actor actress screenplay scene plot script author writer publisher "
        "chapter character episode series sequel trilogy cinema audience poem poet poetry drama comedy thriller "
        "documentary screenwriter fiction novelist reader narrator narrative protagonist cast premiere biography"
    ),
    "animal word": _nouns(
        "animal dog cat horse cow pig lion tiger bear elephant monkey bird eagle owl duck chicken snake frog whale "
        "shark dolphin bee ant spider insect rabbit rat lobster crab goat lamb donkey camel fox turtle lizard beetle "
        "species mammal reptile parrot penguin seal",
        "wolf wolves mouse mice goose geese sheep fish deer cattle butterfly butterflies",
    ),
    "vehicle word": _nouns(
        "car bus truck van train tram ship boat ferry aircraft plane airplane aeroplane helicopter bicycle bike "
        "motorcycle lorry taxi cab wagon carriage locomotive engine yacht canoe submarine rocket spacecraft jet "
        "tractor ambulance vehicle automobile vessel steamer glider"
    ),
    "politics word": _nouns(
        "government parliament president minister senator senate congress election vote voter voting party democrat "
        "republican liberal conservative mayor governor politician constitution treaty policy law campaign candidate "
        "cabinet monarchy king queen democracy republic ambassador embassy legislature referendum committee",
        "political politics elected presidential parliamentary",
    ),
    "religion word": _nouns(
        "god church priest bishop pope saint temple mosque synagogue prayer bible monk nun monastery cathedral "
        "religion christian muslim jew hindu buddhist catholic protestant islam christianity buddhism judaism hinduism "
        "gospel angel heaven sin baptism clergy faith worship chapel abbey archbishop",
        "religious holy sacred pray prayed divine jewish",
    ),
    "time word": _nouns(
        "day week month year decade century morning afternoon evening night today yesterday tomorrow weekend summer "
        "winter autumn spring midnight noon dawn dusk moment era period hour minute birthday anniversary",
        "daily weekly monthly annual annually tonight nowadays later ago soon",
    ),
}

# Capitalised inside a sentence, these are names or letters and get no label from a list
# (Will Smith, Vitamin A, Mr Brown).
NAMES_WITH_CAPITAL = _words(
    "will may march can a mark bill rose brown gray grey violet nice bass faith joy jet fox van seal yet so no"
)

# Names need a capital: in lower case, `turkey` is a bird and `china` is porcelain.
NEEDS_CAPITAL = _words("turkey china chile hungary greece")

# Words whose last letters only look like the ending -ed or -ing.
NOT_ED = _words(
    "bed red seed need speed weed feed indeed hundred sacred naked wicked shed led fed bred sped fled bleed breed deed "
    "exceed proceed succeed infrared embed reed steed heed creed greed kindred hatred ted fred alfred mohammed ahmed "
    "wilfred winifred jared united biped moped watershed bloodshed sled shred"
)
NOT_ING = _words(
    "thing king ring sing wing bring spring string sting swing sling cling fling wring ping evening morning nothing "
    "something anything everything ceiling during pudding sterling viking sibling darling duckling herring shilling "
    "earring offspring plaything farthing lightning hamstring wellbeing beijing inkling starling sapling seedling"
)
