"""The preset `cifar10-gpu`: the paper's models on all of CIFAR-10, with shorter schedules."""

from realfeatures.experiment.config import Preset, ResNetConfig, ThreatModel
from realfeatures.experiment.overrides import override
from realfeatures.experiment.presets.paper import paper
from realfeatures.experiment.vocabulary import Norm


def cifar10_gpu() -> Preset:
    """All of CIFAR-10 with the paper's models and shorter schedules.

    results/2026-11-28-h200-cifar10-gpu is E1 with a tenth of the epochs and of the synthesis' steps: 46 minutes of its
    processes, four at a time, on one H200. The whole was not run.
    """
    return override(
        paper(),
        {
            "name": "cifar10-gpu",
            # chosen: a tenth of the published epochs, or where SSL learning curves on CIFAR-10 flatten first
            "adversarial.model": ResNetConfig(),  # RobustBench (Rice): ResNet-18 loses 2 % against ResNet-50
            "adversarial.optimizer.epochs": 30,
            "adversarial.optimizer.schedule": "cosine",
            "adversarial.optimizer.milestones": (),
            "contrastive.optimizer.epochs": 100,  # solo-learn: 85.6 % after 100 epochs
            "contrastive.optimizer.learning_rate": 1e-3,  # chosen: ten times ref's for a tenth of its epochs
            "masked.optimizer.epochs": 100,
            "masked.optimizer.warmup_epochs": 20,  # ref's share of the epochs
            "masked.patch_size": 4,  # chosen: ref's patch 8 leaves 16 tokens, 4 visible
            "masked.optimizer.batch_size": 1024,  # chosen: four times the updates in a tenth of the epochs
            "masked.optimizer.learning_rate": 1.5e-4 * 1024 / 256,  # the same linear rule
            "diffusion.optimizer.epochs": 30,
            "diffusion.ema_decay": 0.999,  # chosen: 0.9999 averages over 10,000 steps, most of this training
            "robust.steps": 200,  # chosen: with the step decayed, a fifth of the steps
            "robust.decay": True,
            "non_robust.steps": 200,
            "non_robust.step_size": 0.05,  # chosen: the decaying steps add up to 5.5, 2.7 times delta
            "non_robust.decay": True,
            "attack.autoattack": (ThreatModel(norm=Norm.L2, epsilon=0.5),),
            "attack.autoattack_images": 500,
            "attack.representation": (ThreatModel(norm=Norm.L2, epsilon=0.5),),
            "probe_views": 10,  # chosen: a third of the published epochs, as the other schedules
            "timesteps": (50, 200),
        },
    )
