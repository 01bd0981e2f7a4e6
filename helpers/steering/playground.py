"""The playground: controls for prompt, coefficient, layers and seed; three completions appear word by word.

The last completions stay in the notebook as a figure, so that they also show where no kernel runs: on GitHub
and in exported HTML.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import ipywidgets as widgets
from IPython.display import HTML, display
from jaxtyping import Float
from torch import Tensor

from helpers import plots, sentiment
from helpers.hooks import Completion, HookError, stream
from helpers.hooks.sampling import Sampling, SamplingError
from helpers.steering.curves import SteeringError
from helpers.steering.sweeps import check_vectors

TONE_COLOURS = {1: plots.HAPPY, 0: "#f1f1ee", -1: plots.SAD}


class Playground:
    """Interactive controls above three completions: steered by −c, unsteered, steered by +c.

    Args:
        make_hooks: the student's function; called as ``make_hooks(vectors, coefficient, layers)``.
        vectors: ``[n_layers d_model]``.
        prompt: the initial prompt.
        largest: the slider's maximum.

    Raises:
        SteeringError: vectors that aren't finite or have the wrong shape or device.
    """

    def __init__(
        self,
        model,
        make_hooks: Callable,
        vectors: Float[Tensor, "n_layers d_model"],
        prompt: str = "The movie that I watched yesterday was",
        coefficient: float = 0.2,
        largest: float = 0.5,
        max_new_tokens: int = 20,
    ):
        check_vectors(model, vectors)
        self.model, self.make_hooks, self.vectors, self.new = model, make_hooks, vectors, max_new_tokens
        wide = {"description_width": "90px"}
        self.prompt = widgets.Text(prompt, description="prompt", style=wide, layout={"width": "560px"})
        self.coefficient = widgets.FloatSlider(
            value=coefficient,
            min=0,
            max=largest,
            step=0.01,
            description="coefficient",
            style=wide,
            continuous_update=False,
        )
        last = len(vectors) - 1
        self.layers = widgets.IntRangeSlider(
            value=(0, last), min=0, max=last, description="layers", style=wide, continuous_update=False
        )
        self.seed = widgets.IntText(0, description="seed", style=wide, layout={"width": "190px"})
        self.greedy = widgets.Checkbox(True, description="greedy (ignores the seed)", indent=False)
        self.button = widgets.Button(description="write", button_style="primary")
        self.button.on_click(lambda _: self.write())
        for control in (self.coefficient, self.layers):
            control.observe(lambda _: self.write(), names="value")
        self.box = widgets.VBox(
            [
                self.prompt,
                widgets.HBox([self.coefficient, self.layers]),
                widgets.HBox([self.seed, self.greedy, self.button]),
            ]
        )
        self.completions: dict[str, list[Completion]] = {}
        self._shown = None

    def show(self) -> None:
        """Display the controls and write the first completions."""
        display(self.box)
        self._shown = display(HTML(""), display_id=True)
        self.write()

    def write(self) -> None:
        """Write the three completions, or show the error message of an invalid setting in their place."""
        c = self.coefficient.value
        titles = (f"−{c:g}", "unsteered", f"+{c:g}")
        try:
            for found in stream(self.model, self.prompt.value, self._hook_sets(c), self.new, sampling=self._sampling()):
                self._update(HTML(_table(titles, found)))
            self.completions = {title: [completion] for title, completion in zip(titles, found, strict=True)}
            self._update(self.picture())
        except (HookError, SamplingError, SteeringError) as error:
            self._update(HTML(f"<p>{html.escape(str(error))}</p>"))

    def picture(self):
        """Draw the last completions, coloured by VADER, with their perplexity under the unsteered model."""
        columns = {f"{title}   (perplexity {rows[0].perplexity:.1f})": rows for title, rows in self.completions.items()}
        tones = {title: sentiment.vader([row.text or " " for row in rows]) for title, rows in columns.items()}
        return plots.completions(columns, tones, count=1)

    def _hook_sets(self, c: float) -> list[list]:
        first, last = self.layers.value
        layers = list(range(first, last + 1))
        return [self.make_hooks(self.vectors, signed, layers) if signed else [] for signed in (-c, 0.0, c)]

    def _sampling(self) -> Sampling | None:
        return None if self.greedy.value else Sampling(temperature=0.8, top_p=0.95, seed=self.seed.value)

    def _update(self, shown) -> None:
        if self._shown is not None:
            self._shown.update(shown)


def _table(titles: Sequence[str], found: Sequence[Completion]) -> str:
    """Return the completions as an HTML table, one column each, coloured by sentiment; all text is escaped."""
    scores = sentiment.vader([completion.text or " " for completion in found])
    cells = []
    for title, completion, score in zip(titles, found, scores.tolist(), strict=True):
        colour = TONE_COLOURS[(score > sentiment.VADER_NEUTRAL) - (score < -sentiment.VADER_NEUTRAL)]
        cells.append(
            f'<td style="background:{colour};text-align:left;vertical-align:top;width:33%">'
            f"<b>{html.escape(title)}</b> (perplexity {completion.perplexity:.1f})<br>"
            f"<i>{html.escape(completion.prompt)}</i>{html.escape(completion.text)}</td>"
        )
    return f'<table style="width:100%"><tr>{"".join(cells)}</tr></table>'
