"""Classifiers from outside: the checkpoint that pyautoattack ships, torchvision's and timm's models, and bad files."""

import pickle
import sys
from pathlib import Path

import pyautoattack
import pytest
import torch
from pyautoattack import AutoAttack
from pyautoattack.examples.resnet import ResNet18, ResNet34, ResNet50
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from started_run import started_run
from torch import Tensor, nn

from realfeatures.errors import ConfigError, DataError, Interrupted
from realfeatures.experiment.config import OutsideConfig
from realfeatures.science import paradigms
from realfeatures.science.artifacts import MANIFEST, open_artifact, seal
from realfeatures.science.attacks.autoattack import STANDARD, autoattack
from realfeatures.science.attacks.pgd import Ball
from realfeatures.science.checkpoint import Checkpoint
from realfeatures.science.context import Run
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.models.architectures import build_classifier
from realfeatures.science.outside_weights import check_outside, pin_outside
from realfeatures.science.paradigms.base import Pretrained
from realfeatures.science.probe import load_classifier

CHECKPOINT = Path(pyautoattack.__file__).parent / "examples" / "model_test.pt"
"""A ResNet-18 for CIFAR-10, which takes images in [0, 1] as they are."""

OTHER_RESNETS = {"resnet34": ResNet34, "resnet50": ResNet50}
"""The library's own, which are RobustBench's, too."""

VISION_TRANSFORMER = {"img_size": 32, "patch_size": 8}
MODELS = [
    ("torchvision:resnet18", {}),
    ("torchvision:densenet121", {}),
    ("torchvision:mobilenet_v2", {}),  # its head is a layer of a sequence
    ("timm:resnet18", {}),
    ("timm:densenet121", {}),  # its BatchNorms apply the activation, too
    ("timm:vit_tiny_patch16_224", VISION_TRANSFORMER),
]


def noise(count: int, *, classes: int = 10, side: int = 32, channels: int = 3) -> ImageSet:
    """Return random images."""
    images = torch.randint(256, (count, channels, side, side), generator=torch.manual_seed(0), dtype=torch.uint8)
    return ImageSet(images, torch.arange(count) % classes, tuple(map(str, range(classes))))


def shipped(**changes: object) -> OutsideConfig:
    return OutsideConfig(**{"architecture": "robustbench:resnet18", "weights": str(CHECKPOINT), **changes})


def load(config: OutsideConfig, images: ImageSet | None = None) -> Pretrained:
    return paradigms.pretrain(config, images or noise(2), started_run())


def logits_of(trained: Pretrained, images: Tensor) -> Tensor:
    return trained.head(trained.encoder(images))


def through_artifact(config: OutsideConfig, trained: Pretrained, folder: Path) -> nn.Module:
    """Return the classifier as a stage reads it back, its BatchNorms folded."""
    folder.mkdir()
    trained.save(folder)
    attributes = paradigms.attributes_of(config, trained.shape)
    seal(folder, kind="encoder", record={}, attributes=attributes, config=config.identity(), address="0" * 32)
    assert config.weights not in (folder / MANIFEST).read_text()
    return load_classifier(open_artifact(folder), started_run())


def randomised(network: nn.Module) -> nn.Module:
    """Give a network's BatchNorms statistics as if it had been trained, so that none is the identity."""
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return network.eval().requires_grad_(False)


@pytest.fixture
def state() -> dict[str, Tensor]:
    return torch.load(CHECKPOINT, "cpu", weights_only=True)


def test_the_shipped_checkpoint_gives_the_librarys_own_logits(state) -> None:
    network = ResNet18().eval()
    network.load_state_dict(state)
    trained = load(shipped())
    images = torch.rand(8, 3, 32, 32, generator=torch.manual_seed(1))
    assert trained.encoder.dimension == 512
    torch.testing.assert_close(logits_of(trained, images), network(images), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", OTHER_RESNETS)
def test_every_resnet_of_the_table_is_the_librarys(name, tmp_path) -> None:
    network = randomised(OTHER_RESNETS[name]())
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    config = shipped(architecture=f"robustbench:{name}", weights=str(tmp_path / "weights.pt"))
    images = to_float(noise(4).images)
    torch.testing.assert_close(logits_of(load(config), images), network(images), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("architecture", "options"), MODELS, ids=[name for name, _ in MODELS])
def test_a_librarys_model_goes_through_an_artifact_unchanged(architecture, options, tmp_path) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    file = tmp_path / "weights.safetensors"
    config = OutsideConfig(architecture=architecture, weights=str(file), options=options, mean=mean, std=std)
    network = randomised(build_classifier(config, channels=3, classes=10))
    save_file(network.state_dict(), file)
    images = to_float(noise(4).images)
    expected = network((images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))

    config = pin_outside(config)
    trained = load(config)
    file.unlink()  # building the encoder again needs none
    torch.testing.assert_close(logits_of(trained, images), expected, atol=1e-4, rtol=1e-4)
    assert trained.encoder(images).shape == (4, trained.encoder.dimension)
    read_back = through_artifact(config, trained, tmp_path / "encoder")
    torch.testing.assert_close(read_back(images), expected, atol=1e-4, rtol=1e-4)


def test_the_encoder_is_frozen() -> None:
    trained = load(shipped())
    modules = [*trained.encoder.modules(), *trained.head.modules()]
    assert not any(module.training for module in modules)
    assert not any(weight.requires_grad for module in modules for weight in module.parameters())


def test_nested_prefixed_and_renamed_weights_are_found(state, tmp_path) -> None:
    """As trainings with DataParallel leave them; older files have no counters of steps, either."""
    wrapped = {
        f"module.{name.replace('linear', 'fc')}": value for name, value in state.items() if "tracked" not in name
    }
    wrapped["module.normalize.mean"] = torch.zeros(3)
    torch.save({"epoch": 3, "net": wrapped}, tmp_path / "last.pth")
    config = shipped(
        weights=str(tmp_path / "last.pth"),
        state_key="net",
        prefix="module.",
        names={r"^fc\.": "linear.", r"^normalize\..*": ""},
    )
    images = to_float(noise(4).images)
    torch.testing.assert_close(logits_of(load(config), images), logits_of(load(shipped()), images), atol=0, rtol=0)


def test_moved_weights_are_the_same_cell_and_changed_ones_another(tmp_path) -> None:
    moved, changed = tmp_path / "moved.pt", tmp_path / "changed.pt"
    moved.write_bytes(CHECKPOINT.read_bytes())
    changed.write_bytes(CHECKPOINT.read_bytes() + b"\0")
    here, there, other = (pin_outside(shipped(weights=str(path))) for path in (CHECKPOINT, moved, changed))
    assert here.identity() == there.identity()
    assert here.identity() != other.identity()
    assert str(tmp_path) not in str(there.identity())
    assert OutsideConfig.model_validate(here.identity()).identity() == here.identity()
    moved.write_bytes(changed.read_bytes())
    with pytest.raises(DataError, match=r"moved.pt': sha256 is \w{12}..., expected \w{12}...; name the file"):
        load(there)


def refused(error: type[Exception], match: str, config: OutsideConfig, images: ImageSet | None = None) -> None:
    with pytest.raises(error, match=match) as caught:
        load(config, images)
    assert "\n" not in str(caught.value)


class Payload:
    """What a pickle from an untrusted place may hold."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("save", [lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2)), torch.save])
def test_code_in_a_file_is_not_run(save, tmp_path) -> None:
    save({"conv1.weight": Payload(tmp_path / "ran")}, tmp_path / "weights.pt")
    refused(DataError, "read without running code", shipped(weights=str(tmp_path / "weights.pt")))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"\xff" * 8 + b"{", CHECKPOINT.read_bytes()[:5000]])
def test_a_damaged_file_is_refused(content, tmp_path) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    refused(DataError, "not a safetensors file, nor a state dict", shipped(weights=str(tmp_path / "weights.pt")))


def changed_weights(change: str, state: dict[str, Tensor]) -> object:
    """Return what stands in a file whose weights do not fit."""
    match change:
        case "missing":
            return {name: value for name, value in state.items() if name != "layer2.0.conv1.weight"}
        case "unexpected":
            return {**state, "layer2.9.conv1.weight": torch.zeros(1)}
        case "shape":
            return {**state, "layer2.0.conv1.weight": torch.zeros(128, 64, 1, 1)}
        case "not finite":
            return {**state, "linear.bias": torch.full((10,), torch.nan)}
        case "module":
            return {f"module.{name}": value for name, value in state.items()}
        case "nested":
            return {"net": state, "epoch": 3}
        case _:
            return [state]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"robustbench:resnet18 needs 'layer2.0.conv1.weight', which is not there; there is nothing else"),
        ("unexpected", r"'layer2.9.conv1.weight' is no part of robustbench:resnet18"),
        ("shape", r"'layer2.0.conv1.weight' has shape \[128, 64, 1, 1\], .* needs \[128, 64, 3, 3\]"),
        ("not finite", "the logits are not finite"),
        ("module", r"needs 'conv1.weight' and \d+ more, .*; there is 'module.conv1.weight' and \d+ more; set prefix"),
        ("nested", r"expected tensors by name, found 'net' and 1 more; set state_key"),
        ("list", r"expected tensors by name, found list; set state_key"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(change, message, state, tmp_path) -> None:
    torch.save(changed_weights(change, state), tmp_path / "weights.pt")
    refused(DataError, message, shipped(weights=str(tmp_path / "weights.pt")))


def test_what_does_not_fit_the_data_set_is_refused() -> None:
    refused(
        DataError, r"'linear.weight' has shape \[10, 512\], the data set has 7 classes", shipped(), noise(2, classes=7)
    )
    refused(
        DataError,
        r"'conv1.weight' has shape \[64, 3, 3, 3\], .* needs \[64, 1, 3, 3\]",
        shipped(),
        noise(2, channels=1),
    )
    refused(DataError, "needs 'layer1.0.conv3.weight' and", shipped(architecture="robustbench:resnet50"))
    refused(DataError, r"nowhere.pt': No such file", shipped(weights="nowhere.pt"))
    refused(DataError, r"no state_key 'net'; it has 'conv1.weight' and \d+ more", shipped(state_key="net"))
    refused(DataError, r"both renamed to 'same'", shipped(names={r"^bn1.*": "same"}))


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("torchvision:resnet19", {}, "torchvision has no such classifier"),
        ("torchvision:fasterrcnn_resnet50_fpn", {}, "torchvision has no such classifier"),
        ("timm:resnet19", {}, r"Unknown model \(resnet19\); use another"),
        ("timm:resnet18", {"depth": 3}, "unexpected keyword argument 'depth'"),
        ("torchvision:squeezenet1_0", {}, "has no linear layer"),
    ],
)
def test_an_architecture_that_cannot_be_built_is_refused(architecture, options, message) -> None:
    refused(ConfigError, message, shipped(architecture=architecture, options=options))


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("timm:vit_tiny_patch16_224", {}, r"does not take images of 3x32x32 \(Input height .*set options"),
        ("timm:deit_tiny_distilled_patch16_224", VISION_TRANSFORMER, "does not end in one linear layer"),
        ("torchvision:googlenet", {"init_weights": False}, r"'aux1.fc2.weight' belongs to a second head; turn it off"),
    ],
)
def test_a_classifier_that_cannot_be_split_is_refused(architecture, options, message, tmp_path) -> None:
    config = shipped(architecture=architecture, options=options, weights=str(tmp_path / "weights.pt"))
    torch.save(build_classifier(config, channels=3, classes=10).state_dict(), config.weights)
    refused(ConfigError, message, config)


def test_a_missing_timm_is_named_with_its_remedy(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    refused(
        ConfigError, "timm:resnet18: timm is not installed; pip install timm", shipped(architecture="timm:resnet18")
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "resnet18"}, "'resnet18': expected robustbench:resnet18, .*, torchvision:NAME or timm:NAME"),
        ({"architecture": "robustbench:resnet19"}, "'robustbench:resnet19': expected"),
        ({"architecture": "timm:hf-hub:someone/model"}, "expected"),
        ({"options": {"img_size": 32}}, "robustbench:resnet18 has none"),
        ({"names": {"(": "x"}}, r"'\(' -> 'x': not a regular expression"),
        ({"names": {"x": r"\1"}}, "not a regular expression"),
        ({"mean": (0.5,), "std": (0.5,)}, r"mean \[0.5\]: expected 3 numbers"),
    ],
)
def test_a_bad_configuration_is_refused_without_the_weights(changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        check_outside(shipped(**changes), channels=3)
    check_outside(shipped(mean=(0, 0, 0), std=(1, 1, 1)), channels=3)


def test_a_normalisation_is_whole() -> None:
    for changes in ({"mean": (0.5,) * 3}, {"std": (0.5,) * 3}, {"mean": (0.5,), "std": (0.5, 0.5)}):
        with pytest.raises(ValueError, match="mean and std belong together"):
            shipped(**changes)


def photographs() -> Tensor:
    """Return three 128x128 pieces of scikit-learn's photographs, averaged to (3, 3, 32, 32)."""
    china, flower = (torch.tensor(image).permute(2, 0, 1).float() / 255 for image in load_sample_images().images)
    pieces = [flower[:, 200:328, 384:512], china[:, 299:427, 128:256], flower[:, :128, :128]]
    return nn.functional.avg_pool2d(torch.stack(pieces), 4)


class StopsAfterEachAttack(Checkpoint):
    """A checkpoint that asks for a stop when an attack has tried its last image."""

    def step(self, state) -> None:
        pending = state()["pending"]
        self.stop = lambda: pending is not None and not len(pending)
        super().step(state)


@pytest.mark.slow
def test_autoattack_stopped_after_each_attack_flags_what_the_library_flags(state, tmp_path) -> None:
    """One image stays robust: it costs about three minutes of one core, in the library and here."""
    images, ball = photographs(), Ball("Linf", 0.001)
    network = ResNet18().eval().requires_grad_(False)
    network.load_state_dict(state)
    labels = network(images).argmax(1)
    labels[2] = (labels[2] + 1) % 10  # one that is wrong from the start
    library = AutoAttack(network, norm=ball.norm, eps=ball.epsilon, seed=5, device="cpu")
    adversarial, _ = library.run_standard_evaluation(images, labels, batch_size=2)
    expected = network(adversarial).argmax(1) == labels

    config = pin_outside(shipped())
    model = through_artifact(config, load(config), tmp_path / "encoder")
    result, stops = None, 0
    while result is None:
        checkpoint = StopsAfterEachAttack(tmp_path / "checkpoint.safetensors")
        try:
            run = Run(seed=5, checkpoint=checkpoint)
            result = autoattack(model, images, labels, ball=ball, batch_size=2, run=run)
        except Interrupted:
            stops += 1
    assert stops == len(STANDARD)
    assert result.robust.tolist() == expected.tolist() == [True, False, False]
    assert result.accuracy["clean"] == pytest.approx(2 / 3)
