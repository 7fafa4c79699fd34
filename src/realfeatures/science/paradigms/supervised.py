"""Supervised learning: cross-entropy on the labels, standard or on adversarial examples.

Adversarial training (Madry et al. 2018, equation 2.1) is the same with each batch replaced by PGD
examples of the current weights; its encoder is the source of robust features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realfeatures.experiment.config import AdversarialConfig, SupervisedConfig
from realfeatures.science.attacks.pgd import Ball, maximise, untargeted
from realfeatures.science.context import Run
from realfeatures.science.data.augment import crop_flip
from realfeatures.science.data.images import ImageSet
from realfeatures.science.models.resnet import ResNet
from realfeatures.science.paradigms.base import ImageShape, Pretrained, WithHead, examples_of, frozen, place
from realfeatures.science.training import train


def build(config: SupervisedConfig | AdversarialConfig, shape: ImageShape) -> ResNet:
    """Return the ResNet at its initialisation."""
    return ResNet(config.model, channels=shape.channels)


def pretrain(config: SupervisedConfig | AdversarialConfig, images: ImageSet, run: Run) -> Pretrained:
    """Train a ResNet and its linear head on labelled images, or on PGD examples of them.

    Deviation: ref's PGD descends the loss (Robust/attack/PGD.py:32), and attacks in train mode, which lets
    BatchNorm's statistics follow the attack (adversarial_training.py:76).
    """
    shape = ImageShape.of(images)
    encoder = build(config, shape)
    head = nn.Linear(encoder.dimension, len(images.classes))
    model = place(WithHead(encoder, head), run).train()
    classify = run.mixed(model)

    def loss(batch: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        seen = crop_flip(batch, config.augmentation, generator, run.memory_format)
        if isinstance(config, AdversarialConfig):
            attack = config.attack
            model.eval()
            seen = maximise(
                untargeted(classify, labels),
                seen,
                ball=Ball(attack.norm, attack.epsilon),
                steps=attack.steps,
                step_size=attack.step_size,
                generator=generator,
            )
            model.train()
        return F.cross_entropy(classify(seen), labels)

    history = train(model, loss, examples_of(images, run), config.optimizer, run)
    frozen(model)
    return Pretrained(encoder, shape, head, history=history)
