"""Parts of a space that several families share.

Every function suggests its hyperparameters on `trial` and returns them by name. A parameter that only
matters when another is switched on is suggested only then, so the sampler learns on what was used.
`quick` narrows ranges and choices, and keeps the baselines inside.
"""

from __future__ import annotations

from harness.families import Suggest
from harness.models import Config
from harness.records.base import Value

TRUNKS = ("blocks", "efficientnet")
EFFICIENTNETS = ("B0", "B1", "B2", "B3", "S", "M", "L")

# What all baselines share: the original author's ways, with the framework's defaults where the author said nothing.
BASELINE_TRAINING: Config = {
    "batch_size": 8,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "clip_gradients": False,
    "class_weights": True,
    "label_smoothing": 0.0,
    "mixup": 0.0,
    "window": "fixed",
    "variants": False,
    "patience": 10,
}


def training(
    trial: Suggest,
    quick: bool,
    max_learning_rate: float = 3e-3,
    warmup: tuple[float, float] = (0.0, 0.1),
    augmented: bool = True,
) -> Config:
    """Optimizer, schedule, regularisation in the loss and the batches, crops, augmented copies, early stopping.

    `warmup` is the least and the most that a cosine schedule warms up for, as a share of all updates; `augmented` is
    whether what the family sees exists of a track's augmented copies too.
    """
    config: dict[str, Value] = {
        "batch_size": trial.suggest_categorical("batch_size", [8, 16] if quick else [8, 16, 32, 64]),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, max_learning_rate, log=True),
        "optimizer": trial.suggest_categorical("optimizer", ["adam", "adamw"]),
    }
    if config["optimizer"] == "adamw":
        config["weight_decay"] = trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True)
    config["schedule"] = trial.suggest_categorical("schedule", ["constant", "cosine"])
    if config["schedule"] == "cosine":
        config["warmup"] = trial.suggest_float("warmup", *warmup)
    config["clip_gradients"] = trial.suggest_categorical("clip_gradients", [False, True])
    config["class_weights"] = trial.suggest_categorical("class_weights", [False, True])
    config["label_smoothing"] = trial.suggest_float("label_smoothing", 0.0, 0.15)
    config["mixup"] = trial.suggest_float("mixup", 0.0, 0.4)
    config["window"] = trial.suggest_categorical("window", ["fixed", "random"])
    if config["window"] == "random":
        config["crops_per_track"] = trial.suggest_int("crops_per_track", 1, 2 if quick else 10)
    config["variants"] = trial.suggest_categorical("variants", [False, True] if augmented and not quick else [False])
    if config["variants"]:
        config["variant_share"] = trial.suggest_float("variant_share", 0.2, 0.8)
    config["patience"] = trial.suggest_int("patience", 5, 20)
    return config


def regularization(trial: Suggest, max_dropout: float = 0.5, own_norm: bool = False) -> Config:
    """Dropout, L2 on kernels, and BatchNorm with its momentum, unless the architecture has its own."""
    config: dict[str, Value] = {
        "dropout": trial.suggest_float("dropout", 0.0, max_dropout),
        "l2": trial.suggest_categorical("l2", [False, True]),
    }
    if config["l2"]:
        config["l2_weight"] = trial.suggest_float("l2_weight", 1e-6, 1e-2, log=True)
    if own_norm:
        return config
    config["batch_norm"] = trial.suggest_categorical("batch_norm", [False, True])
    if config["batch_norm"]:
        config["batch_norm_momentum"] = trial.suggest_float("batch_norm_momentum", 0.8, 0.99)
    return config


def spec_augment(trial: Suggest, max_rows: int) -> Config:
    """SpecAugment: masks over rows and frames of a crop; widths in rows (up to `max_rows`) and frames."""
    config: dict[str, Value] = {"spec_augment": trial.suggest_categorical("spec_augment", [False, True])}
    if config["spec_augment"]:
        config["row_masks"] = trial.suggest_int("row_masks", 0, 2)
        if config["row_masks"]:
            config["row_mask_width"] = trial.suggest_int("row_mask_width", 1, max_rows)
        config["frame_masks"] = trial.suggest_int("frame_masks", 0, 2)
        if config["frame_masks"]:
            config["frame_mask_width"] = trial.suggest_int("frame_mask_width", 1, 30)
    return config


def trunk(
    trial: Suggest, quick: bool, blocks: tuple[int, int], kernels: tuple[int, ...], branches: tuple[str, ...] = ()
) -> Config:
    """A two-dimensional trunk: blocks of convolutions, or an EfficientNetV2.

    Widths, convolutions a block and the larger EfficientNets reach beyond what 8 GiB hold at a micro-batch of 8, so
    a budget binds.

    Args:
        blocks: fewest and most blocks; quick goes up to one more than the fewest.
        kernels: sizes of the convolutions.
        branches: ways to divide the rows among branches; empty for a family that has none.
    """
    config: dict[str, Value] = {"trunk": trial.suggest_categorical("trunk", ["blocks"] if quick else TRUNKS)}
    if config["trunk"] == "efficientnet":
        return {**config, "variant": trial.suggest_categorical("variant", EFFICIENTNETS)}
    config["blocks"] = trial.suggest_int("blocks", blocks[0], blocks[0] + 1 if quick else blocks[1])
    config["width"] = trial.suggest_int("width", 16, 32 if quick else 512, step=16)
    config["convolutions"] = trial.suggest_int("convolutions", 1, 1 if quick else 4)
    config["kernel"] = trial.suggest_categorical("kernel", kernels[:1] if quick else kernels)
    config["residual"] = trial.suggest_categorical("residual", [False, True])
    config["squeeze_excitation"] = trial.suggest_categorical("squeeze_excitation", [False, True])
    if branches:
        config["branches"] = trial.suggest_categorical("branches", branches)
    return config


def head(trial: Suggest) -> Config:
    """How the last feature map becomes a vector, and the width of the hidden dense layer, in units."""
    return {
        "head": trial.suggest_categorical("head", ["flatten", "average", "max"]),
        "dense_units": trial.suggest_categorical("dense_units", [0, 64, 128, 256]),
    }
