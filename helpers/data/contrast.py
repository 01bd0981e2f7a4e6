"""Five sentence pairs to compute steering vectors from, and prompts to steer."""

from helpers.data.tables import read_table

POSITIVE = (
    "I love this product, it works wonderfully!",
    "This is the best day I have ever had.",
    "I am feeling fantastic and everything is great.",
    "What a delightful surprise!",
    "The food was amazing and the service was excellent.",
)
NEGATIVE = (
    "I hate this product, it is terrible.",
    "This is the worst day of my life.",
    "I am feeling awful and everything is bad.",
    "What a horrible experience.",
    "The food was disgusting and the service was terrible.",
)

_OPENINGS = read_table("prompts")
# Choose coefficients, wordings, layers and heads on the trial prompts, and report the choice on the held-out ones.
TRIAL_PROMPTS: tuple[str, ...] = tuple(_OPENINGS["trial_prompts"])
HELD_OUT_PROMPTS: tuple[str, ...] = tuple(_OPENINGS["held_out_prompts"])
