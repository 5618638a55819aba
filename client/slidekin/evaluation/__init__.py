"""How well a collection, or labelled tiles, are searched: measures, intervals, a baseline, a page.

from slidekin import Client
from slidekin.evaluation import evaluate, render_html

with Client() as client:
    result = evaluate(client, "breast")
    for method in result.methods:
        print(method.name, method.at(5).majority_vote.macro)
"""

from slidekin.evaluation._errors import EvaluationError
from slidekin.evaluation._evaluate import BASELINE, evaluate, stored_corners
from slidekin.evaluation._examples import (
    ExamplePictures,
    FilePictures,
    KeptPictures,
    PictureSource,
    TilePictures,
    fetch_example_pictures,
)
from slidekin.evaluation._files import SlideFiles
from slidekin.evaluation._histogram import PatchHistograms, histogram, histogram_answers
from slidekin.evaluation._html import render_html
from slidekin.evaluation._json import to_json
from slidekin.evaluation._measures import average_precision, majority_label
from slidekin.evaluation._scores import judge
from slidekin.evaluation._tile_run import evaluate_tiles
from slidekin.evaluation._tiles import LabelledTile, TileFacts, find_tiles, scaled
from slidekin.evaluation._values import (
    Answer,
    Confusion,
    Estimate,
    Evaluation,
    EvaluationSettings,
    Found,
    Measured,
    MethodResult,
    Pair,
    Scores,
    Subject,
)

__all__ = [
    "BASELINE",
    "Answer",
    "Confusion",
    "Estimate",
    "Evaluation",
    "EvaluationError",
    "EvaluationSettings",
    "ExamplePictures",
    "FilePictures",
    "Found",
    "KeptPictures",
    "LabelledTile",
    "Measured",
    "MethodResult",
    "Pair",
    "PatchHistograms",
    "PictureSource",
    "Scores",
    "SlideFiles",
    "Subject",
    "TileFacts",
    "TilePictures",
    "average_precision",
    "evaluate",
    "evaluate_tiles",
    "fetch_example_pictures",
    "find_tiles",
    "histogram",
    "histogram_answers",
    "judge",
    "majority_label",
    "render_html",
    "scaled",
    "stored_corners",
    "to_json",
]
