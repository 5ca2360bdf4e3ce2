"""The models that a worker scores with, as its settings name them, and what its log says of them at the start."""

from __future__ import annotations

from streams.files.model_directory import Models, load_models
from streams.worker.settings import WorkerSettings


def models_of(settings: WorkerSettings) -> Models:
    """The models of these settings, with those in shadow. Raises PolicyInvalid."""
    models = load_models(settings.models, settings.scorecard)
    if settings.shadow_models is None:
        return models
    return models.with_shadow(load_models(settings.shadow_models))


def models_line(models: Models) -> str:
    """A log line on the models in use; every score carries the same hashes."""
    card = models.scorecard
    line = f"scores are made by scorecard {card.hash} with {_named(models.hash)}"
    if card.shadow is None:
        return line
    line += f"; scorecard {card.shadow.hash} with {_named(card.shadow.models)} is in shadow"
    if card.shadow.models not in ("", models.hash):
        line += ", and reads the features that the models in force give: its own captions and links are not read"
    return line


def _named(hash_: str) -> str:
    return f"models {hash_}" if hash_ else "no models"
