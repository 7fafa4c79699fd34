"""Where this code departs on purpose from the paper and from its released code (github: PKU-ML/AdvNotRealFeatures)."""

FROM_PAPER = (
    (
        "a linear probe is fitted to the crafted set that its encoder was trained on",
        "also to natural images",
    ),
    ("one number a cell", "an interval on each; several seeds; verdicts by rules fixed before the run"),
    (
        "robust accuracy from one start, with which a reader's number disagreed",
        "both starts: natural and robust images",
    ),
    ("supervised models are read by their own head", "so here, and by a linear probe where encoders are compared"),
    ("non-robust features are also made with other paradigms' encoders", "so here, by the same loss and bound"),
    ("the paper's models, lengths and all of CIFAR-10", "in the preset paper alone; any other names its own"),
    ("no such control is known of", "raw pixels and untrained encoders: what a linear classifier finds by itself"),
    ("no such check is known of", "signs of gradient masking are looked for wherever AutoAttack runs"),
)
"""(what the paper does, what is done here)."""

FROM_CODE = (
    ("PGD descends the cross-entropy, so adversarial training trains on easier images", "PGD ascends it"),
    ("Linf PGD takes no sign; L2 PGD starts uniformly in a box", "each norm has its own step and start"),
    ("adversarial training attacks in train mode, which moves BatchNorm's statistics", "eval mode while attacking"),
    ("batches of 512 are hard-coded in reshapes", "any batch size, also a last one that is smaller"),
    ("the model called resnet50 is a ResNet-18, loaded into a ResNet-50", "one ResNet, built as configured"),
    ("checkpoints cannot be loaded where its scripts load them", "artifacts with a manifest, checked when read"),
    ("models trained on [0, 1] are fed [-1, 1]", "images are in [0, 1]; a model's own scaling is part of it"),
    (
        "the training sets of supervised models and probes are not shuffled",
        "every epoch is shuffled from a seeded generator",
    ),
    ("gradients are clipped at 5 in supervised training and probes", "not clipped there"),
    (
        "every probe is trained with crop and flip",
        "linear_probe_crop_flip is that probe; the standard one sees images as they are",
    ),
    ("schedules are stepped once an epoch with a length in steps, or twice", "every schedule counts steps"),
    ("accumulated losses are not divided by their number", "batches are not accumulated"),
    ("the frozen probe runs in train mode, so BatchNorm's statistics move", "a probe leaves every bit as it was"),
    ("the diffusion probe optimises an attribute that does not exist", "the probe is the same for all encoders"),
    ("the diffusion model is probed without EMA weights", "EMA weights, where the preset keeps them"),
    ("the diffusion encoder is pretrained on [-1, 1] and probed on [0, 1]", "the same scaling for both"),
    ("the diffusion encoder draws new noise at every evaluation", "its noise is fixed, its output deterministic"),
    ("diffusion trains 201 of its 1,000 epochs", "as many as configured"),
    (
        "crafted sets are floats for supervised training, cut to 8 bits elsewhere",
        "rounded to 256 levels, once for all; what the rounding costs is reported",
    ),
    ("crafted sets are not augmented in supervised training", "all sets are augmented alike"),
    ("the sets that it makes are never read: Madry's released ones are", "the sets are made, and are what is used"),
    ("sets are made with the source in train mode and start images unseeded", "eval mode, seeded start images"),
    (
        "synthesis descends one norm over the whole batch",
        "a norm an image; normalised gradients are the same",
    ),
    ("nothing checks what AutoAttack is given", "inputs and logits are checked, flags shown"),
    ("the evaluation overwrites the attack that was chosen", "every attack is named beside its number"),
    ("SimCLR's temperature is 0.007", "0.5, SimCLR's own optimum on CIFAR-10, unless the preset says otherwise"),
    ("SimCLR blurs every view", "half of them, as Chen et al., unless the preset says otherwise"),
    ("MAE's positions are learned", "fixed sines and cosines, as He et al."),
    ("robust accuracy is divided by 5,000 whatever n is", "n is counted, and stands beside every number"),
)
"""(what the released code does, what is done here)."""

DEVIATIONS = {"Departures from the paper": FROM_PAPER, "Departures from the paper's released code": FROM_CODE}
"""Heading -> pairs of what is done there and here."""
