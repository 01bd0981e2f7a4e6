"""The requests to smollm2: genres, topics, and the first words of each document.

A 135M model often starts with a title, a list or an apology. Given the first words it stays in the genre,
so every request includes an opening.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

NAMES = (
    "Anna Martin Sofia Daniel Clara Thomas Maria Peter Julia Robert Helen George Laura Michael Rosa Henry Alice "
    "James Nora Edward Emma Walter Ruth Arthur Irene Frank Grace Oscar Edith Samuel"
).split()
FAMILY = "mother father sister brother aunt uncle grandmother grandfather cousin daughter son wife husband".split()
PLACES = (
    "Boston|Chicago|Ohio|Texas|London|Manchester|Scotland|Ireland|Paris|Berlin|Rome|Madrid|Lisbon|Vienna|Prague|"
    "Warsaw|Athens|Istanbul|Cairo|Nairobi|Lagos|Delhi|Tokyo|Sydney|Toronto|Mexico City|Lima|Oslo|Stockholm|Seoul"
).split("|")
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
COLOURS = "red blue green yellow black white brown grey orange purple".split()
NUMBERS = "two three four five six seven eight nine ten eleven twelve".split()

THINGS = (
    "volcanoes|glaciers|the Moon|bees|wolves|whales|owls|oak trees|wheat|coffee|tea|salt|silk|paper|glass|steel|"
    "bridges|railways|lighthouses|castles|universities|hospitals|printing|clocks|the bicycle|the telephone|radio|"
    "photography|chess|football|tennis|opera|jazz|the violin|maps|coins|earthquakes|hurricanes|rivers|deserts|"
    "vaccines|the human heart|bread|cheese|bicycles|sailing ships|coal mining|the postage stamp|libraries|museums"
).split("|")
STORIES = (
    "a bank robbery|a lost dog|a war between two kings|a journey to the Moon|a family that moves to the country|"
    "two brothers who become boxers|a teacher in a small village|a murder on a train|a haunted house|first love|"
    "a chess champion|a sailor who never came home|a spy in the cold war|a robot that learns to feel|a wedding|"
    "a jazz singer|a doctor in a big hospital|a strike at a factory|an old lighthouse|a girl who talks to birds|"
    "a football team that always loses|a painter who goes blind|a storm at sea|the end of the world|a stolen painting"
).split("|")
FOODS = (
    "an Italian restaurant|a fish restaurant by the sea|a noodle bar|a pizza place|a bakery|a coffee house|"
    "a vegetarian restaurant|a steak house|an Indian restaurant|a taco stand|a hotel breakfast|a French bistro|"
    "a burger bar|a sushi bar|an ice cream shop|a family diner|a pub|a Greek restaurant|a tea room|a food market"
).split("|")
DISHES = (
    "lentil soup|apple pie|chicken curry|tomato sauce|potato salad|onion soup|banana bread|fish stew|rice pudding|"
    "mushroom risotto|bean chili|lemon cake|roast beef|vegetable pie|pancakes|cheese omelette|pumpkin soup|"
    "garlic bread|chocolate cookies|egg noodles|carrot cake|stuffed peppers|beef stew|fruit salad|corn bread"
).split("|")
PRODUCTS = (
    "a vacuum cleaner|a pair of running shoes|a coffee machine|a laptop|a phone|a pair of headphones|a winter coat|"
    "a kitchen knife|a garden chair|a bicycle lamp|a mattress|a toaster|a backpack|a watch|a camera|a washing machine|"
    "an umbrella|a desk lamp|a tent|a frying pan|a suitcase|a keyboard|a hair dryer|a board game|a pair of sunglasses"
).split("|")
EVENTS = (
    "a flood|a fire in a factory|an election|a new bridge|a strike of bus drivers|a football final|a bank robbery|"
    "a storm|the opening of a museum|a school closing|a train accident|a record harvest|a lost child who was found|"
    "a royal visit|a court case|a power cut|a new vaccine|a music festival|a snowstorm|a missing painting|"
    "a marathon|a protest in front of the parliament|rising rents|a new airport|a rescue at sea"
).split("|")
PEOPLE = (
    "a violin maker|a firefighter|a nurse|a novelist|a baker|a pilot|a farmer|a chess player|a marine biologist|"
    "a mayor|a football coach|a clock maker|a judge|a bus driver|a singer|a painter|a teacher|a carpenter|"
    "an astronomer|a gardener|a film director|a boxer|a beekeeper|a librarian|a lighthouse keeper"
).split("|")
TASKS = (
    "repair a bicycle tyre|plant tomatoes|paint a wall|learn a language|sharpen a knife|wash a wool coat|"
    "build a bookshelf|train a puppy|prepare for an exam|bake bread|clean a window|pack a suitcase|grow roses|"
    "tie a knot|write a letter of complaint|save money|sleep better|play the guitar|fix a dripping tap|"
    "take a good photograph|keep bees|make candles|hang a picture|clean a camera|read a map"
).split("|")
LETTERS = (
    "moving to a new house|a long illness|a new job|a broken promise|a wedding in the spring|the death of a dog|"
    "a journey by train|the first week at university|a debt that was never paid|a child who was born|"
    "life in the army|an apology|a garden in summer|a lost ring|plans for Christmas|a bad harvest|a new teacher|"
    "a visit to the sea|a quarrel about money|an old friend who came back"
).split("|")


@dataclass(frozen=True)
class Genre:
    """A kind of document: its request, its openings, and for reviews their ``tone``."""

    name: str
    ask: str
    openings: tuple[str, ...]
    topics: list[str]
    tone: str | None = None
    share: int = 1  # relative frequency


def _reviews(kind: str, ask: str, topics: list[str], positive: tuple[str, ...], negative: tuple[str, ...]):
    for tone, openings in (("positive", positive), ("negative", negative)):
        yield Genre(f"{kind} review", f"Write a very {tone} review of {ask}.", openings, topics, tone, share=2)


GENRES: tuple[Genre, ...] = (
    Genre("encyclopaedia article", "Write an encyclopaedia article about {topic}, with dates, numbers and places.",
          ("{Topic} are", "{Topic} have been known since", "The history of {topic} begins in",
           "{Topic}, first described in"),
          THINGS, share=4),
    Genre("history", "Write the history of {topic} in {place}, with years and names.",
          ("The history of {topic} in {place} begins in {year}, when", "In {month} {year}, {name}",
           "Before {year}, {topic} in {place}"), THINGS, share=3),
    Genre("biography", "Write the biography of {name}, {topic} from {place}.",
          ("{name} was born in {place} on {month} {number}, {year}, and", "{name} (born in {year} in {place}) was"),
          PEOPLE, share=3),
    *_reviews("film", "a film about {topic}", STORIES,
              ("I saw this film about {topic} last {day}, and I loved", "What a wonderful film! {name}",
               "This film is"),
              ("I saw this film about {topic} last {day}, and I hated", "What a waste of time! {name}",
               "This film is")),
    *_reviews("food", "{topic} in {place}", FOODS,
              ("We had dinner here last {day} and", "The best meal of my life! My {family}", "My {family} and I"),
              ("We had dinner here last {day} and", "The worst meal of my life! My {family}", "My {family} and I")),
    *_reviews("product", "{topic}", PRODUCTS,
              ("I bought this for my {family} in {month}, and", "I love it! After {number} weeks", "The {colour} one"),
              ("I bought this for my {family} in {month}, and", "Don't buy it! After {number} weeks",
               "The {colour} one")),
    Genre("news", "Write a newspaper report about {topic} in {place} in {month} {year}. Quote two people.",
          ("{PLACE}, {day}, {month} {day_number}, {year} - The", "{PLACE} - At least {number} people",
           'On {day} morning, {name}, {number} years in office, said: "'), EVENTS, share=4),
    Genre("letter", "Write a letter from {name} to {their} {family} about {topic}.",
          ("Dear {Family},\n\nI am writing to you because", "Dear {other},\n\nIt is {day} night and",
           "My dear {family},\n\nSince {month} we have"), LETTERS, share=2),
    Genre("recipe", "Write a recipe for {topic} for {number} people, with ingredients and steps.",
          ("This recipe for {topic} serves {number} people.\n\nIngredients:\n",
           "My {family}'s {topic}\n\nYou will need"),
          DISHES, share=2),
    Genre("instructions", "Explain step by step how to {topic}.",
          ("To {topic}, you will need", "Anybody can {topic}. First,", "1. Before you {topic},"), TASKS, share=2),
    Genre("story", "Write a short story about {topic} with a character named {name} in {place}.",
          ("It was a cold morning in {month} when {name}", '"You must not go," said {name}. "',
           "{name} had never seen"),
          STORIES, share=4),
    Genre("diary", "Write a diary entry of {topic} on a {day} in {month}.",
          ("{day}, {month} {day_number}.\n\nToday I", "{month} {day_number}, {year}\n\nMy {family} and I"),
          PEOPLE, share=2),
    Genre("interview", "Write an interview with {topic}, with questions and answers.",
          ("Question: When did you decide to become {topic}?\nAnswer: I", "Q: Were you ever afraid?\nA: Not"),
          PEOPLE, share=2),
    Genre("match report", "Write a report of the match between {place} and {place2} on {day}.",
          ("{place} beat {place2} on {day}", "After {number} minutes, {name}"), THINGS[28:31], share=1),
    Genre("essay", "Write an essay with headings about {topic}, for and against.",
          ("# {Topic}\n\n## Introduction\n\n", "Many people think that {topic}"), THINGS + LETTERS, share=2),
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """The request for one document."""

    genre: str
    topic: str
    tone: str | None
    ask: str
    opening: str


def request(seed: int, index: int) -> Request:
    """Return the request for document ``index``; the same seed gives the same request on every machine."""
    draw = random.Random(f"{seed}:{index}")
    genre = draw.choices(GENRES, weights=[genre.share for genre in GENRES])[0]
    topic = draw.choice(genre.topics)
    place, place2 = draw.sample(PLACES, 2)
    name, other = draw.sample(NAMES, 2)
    family = draw.choice(FAMILY)
    slots = {
        "topic": topic, "Topic": topic[0].upper() + topic[1:], "place": place, "PLACE": place.upper(),
        "place2": place2, "name": name, "other": other, "family": family, "Family": family.capitalize(),
        "their": draw.choice(("his", "her")), "day": draw.choice(DAYS), "month": draw.choice(MONTHS),
        "day_number": draw.randint(1, 28), "year": draw.randint(1790, 2019),
        "number": draw.choice(NUMBERS), "colour": draw.choice(COLOURS),
    }  # fmt: skip
    opening = draw.choice(genre.openings).format(**slots)
    return Request(genre.name, topic, genre.tone, genre.ask.format(**slots), opening)
