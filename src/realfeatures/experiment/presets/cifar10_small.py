"""The preset `cifar10-small`: an experiment for a CPU."""

from realfeatures.experiment.config import Preset, ResNetConfig, RuntimeConfig, ThreatModel
from realfeatures.experiment.overrides import override
from realfeatures.experiment.presets.paper import paper
from realfeatures.experiment.vocabulary import Norm


def cifar10_small() -> Preset:
    """2,000 CIFAR-10 images and narrow models.

    Costs 82 CPU-minutes a seed (AMD EPYC), all experiments. Natural accuracy in percent, seed 0, n = 1,000: supervised
    47.1, contrastive 31.0, masked 32.4, diffusion 30.2, raw pixels 29.3 (results/2026-11-28-cpu-cifar10-small).
    """
    resnet = ResNetConfig(width=16)  # prototype
    return override(
        paper(),
        {
            "name": "cifar10-small",
            # bfloat16 doubles training speed on CPUs with avx512_bf16 and is slower on others
            "runtime": RuntimeConfig(device="cpu", precision="bfloat16"),
            "data.train_size": 2000,  # chosen with the epochs below, to fit the half hour
            "data.test_size": 1000,
            "supervised.model": resnet,
            "supervised.optimizer.batch_size": 128,  # chosen: 15 updates an epoch instead of 3
            "supervised.optimizer.epochs": 15,
            "adversarial.model": resnet,
            "adversarial.optimizer.batch_size": 128,
            "adversarial.optimizer.epochs": 12,
            "adversarial.optimizer.schedule": "cosine",
            "adversarial.optimizer.milestones": (),
            "adversarial.attack.steps": 3,  # prototype
            "adversarial.attack.step_size": 0.25,  # chosen: 3 steps of half the radius reach every point of the ball
            "contrastive.model": resnet,
            "contrastive.optimizer.learning_rate": 1e-3,
            "contrastive.optimizer.batch_size": 256,
            "contrastive.optimizer.epochs": 10,
            "contrastive.optimizer.warmup_epochs": 1,
            "contrastive.projection_hidden": 128,  # the narrow ResNet's own width
            "contrastive.projection_output": 64,
            "masked.patch_size": 4,
            "masked.width": 96,
            "masked.encoder_blocks": 4,
            "masked.decoder_blocks": 2,
            "masked.heads": 3,  # 32 channels a head
            "masked.feature_pool": 2,  # as in digits
            "masked.optimizer.batch_size": 128,
            "masked.optimizer.learning_rate": 1e-3,
            "masked.optimizer.epochs": 10,
            "masked.optimizer.warmup_epochs": 1,
            "diffusion.width": 32,
            "diffusion.blocks": 1,
            "diffusion.attention_resolutions": (8,),
            "diffusion.dropout": 0.0,  # Ho et al. 2020 use it against overfitting over 800,000 steps
            "diffusion.ema_decay": None,  # too few steps to average over
            "diffusion.optimizer.batch_size": 64,
            "diffusion.optimizer.learning_rate": 1e-3,
            "diffusion.optimizer.epochs": 2,
            "diffusion.optimizer.warmup_epochs": 0.5,
            "robust.steps": 30,
            "robust.decay": True,
            "non_robust.steps": 30,
            "non_robust.step_size": 0.25,  # chosen: the decaying steps add up to 4.1, twice delta
            "non_robust.decay": True,
            "d_rand.steps": 20,  # 20 x 0.1 reaches four times epsilon
            "d_det.steps": 20,
            "probe.batch_size": 256,
            "attack.images": 200,
            "attack.pgd_steps": 10,  # prototype
            "attack.pgd": tuple(ThreatModel(norm=Norm.L2, epsilon=epsilon) for epsilon in (0.25, 0.5)),
            "attack.autoattack": (ThreatModel(norm=Norm.L2, epsilon=0.5),),
            "attack.autoattack_images": 32,
            "attack.representation": (ThreatModel(norm=Norm.L2, epsilon=0.5),),
            "attack.masking_images": 32,
            "probe_views": 3,
            "timesteps": (100,),
            "transfer.images": 200,
            "transfer.threats": (ThreatModel(norm=Norm.L2, epsilon=0.5),),
            "transfer.steps": 10,
            "loss_curves.images": 64,
            "loss_curves.batch_size": 64,
            "loss_curves.steps": 30,
        },
    )
