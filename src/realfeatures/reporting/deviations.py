"""Where this code departs on purpose from the paper's released code (github: PKU-ML/AdvNotRealFeatures)."""

DEVIATIONS = (
    ("PGD descends the cross-entropy, so adversarial training trains on easier images", "PGD ascends it"),
    ("Linf PGD takes no sign; L2 PGD starts uniformly in a box", "each norm has its own step and start"),
    ("the model called resnet50 is a ResNet-18, loaded into a ResNet-50", "one ResNet, built as configured"),
    ("the training sets are not shuffled", "every epoch is shuffled from a seeded generator"),
    ("schedules are stepped once an epoch with a length in steps, or twice", "every schedule counts steps"),
    ("the frozen probe runs in train mode, so BatchNorm's statistics move", "a probe leaves every bit as it was"),
    ("the diffusion probe optimises an attribute that does not exist", "the probe is the same for all encoders"),
    ("the diffusion encoder draws new noise at every evaluation", "its noise is fixed, its output deterministic"),
    ("sets are made with the source in train mode and start images unseeded", "eval mode, seeded start images"),
    ("AutoAttack ran on inputs outside [0, 1] and on soft-max outputs", "inputs and logits are checked, flags shown"),
    ("SimCLR's temperature is 0.007", "0.5, SimCLR's own optimum on CIFAR-10, unless the preset says otherwise"),
    ("robust accuracy is divided by 5,000 whatever n is", "n is counted, and stands beside every number"),
)
"""(what the released code does, what is done here)."""
