from __future__ import annotations

import numpy as np
import pytest
import torch

from slidekin_models.errors import PlacementError
from slidekin_models.networks.halves import halves_of_texture, halves_of_vqvae
from slidekin_models.networks.seeded import golden_image, seeded_tensors
from slidekin_models.networks.semantic import principal_order
from slidekin_models.networks.synthetic import stained_pictures
from slidekin_models.networks.textures import ARCHITECTURES, texture_architecture
from slidekin_models.networks.vqvae import Codebook, VqVae
from slidekin_models.runtimes.placement import Placement, placement_in_triton
from slidekin_models.runtimes.serving import PatchEncoder


def test_seeded_weights_depend_on_nothing_but_seed_names_and_shapes() -> None:
    shapes = {"b.weight": (2, 3, 4, 4), "a.bias": (3,), "n.num_batches_tracked": ()}
    first = seeded_tensors(shapes)
    again = seeded_tensors(dict(reversed(shapes.items())))
    other = seeded_tensors(shapes, seed=1)
    for name, shape in shapes.items():
        assert torch.equal(first[name], again[name])
        assert first[name].shape == shape
    assert not torch.equal(first["a.bias"], other["a.bias"])
    expected = 0.1 * np.random.default_rng(1000).standard_normal(3)
    np.testing.assert_array_equal(first["a.bias"].numpy(), expected.astype(np.float32))


def test_ties_between_codewords_go_to_the_lowest_index() -> None:
    codebook = Codebook(size=4, dim=2)
    with torch.no_grad():
        codebook.embedding.weight.copy_(torch.tensor([[9.0, 9], [1, 0], [-1, 0], [1, 0]]))
    z = torch.tensor([[[[0.0, 1.0]], [[0.0, 0.0]]]])
    assert codebook.assign(z).tolist() == [[[1, 1]]]


def test_the_gradient_passes_straight_through_the_quantisation() -> None:
    network = VqVae()
    losses = network.losses(torch.from_numpy(golden_image(32)[None]))
    losses.loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        if name == "encoder.0.weight":
            assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_a_texture_network_gives_as_many_features_as_it_says(name: str) -> None:
    architecture = texture_architecture(name)
    network = architecture.build()
    images = golden_image(64)[None]
    features = PatchEncoder(halves_of_texture(network), Placement()).encode(images)
    assert features.shape == (1, architecture.features)
    assert features.dtype == np.float32


def test_requests_get_their_own_answers_whatever_the_step() -> None:
    network = VqVae()
    images = stained_pictures(5, 64, seed=3)
    requests = [images[:1], images[1:4], images[4:]]
    one = PatchEncoder(halves_of_vqvae(network), Placement())
    three = PatchEncoder(halves_of_vqvae(network), Placement(images_per_forward=3))
    whole = one.encode(images)
    for answers in (one.encode_many(requests), three.encode_many(requests)):
        assert [len(answer) for answer in answers] == [1, 3, 1]
        np.testing.assert_array_equal(np.concatenate(answers), whole)


@pytest.mark.parametrize(
    ("key", "value"), [("precision", "int4"), ("runtime", "abacus"), ("images_per_forward", "0")]
)
def test_a_placement_that_is_not_served_is_refused_by_name(key: str, value: str) -> None:
    parameters = {
        "precision": "fp32",
        "runtime": "torch",
        "threads": "1",
        "images_per_forward": "1",
        key: value,
    }
    with pytest.raises(PlacementError, match=f"{key}: '?{value}"):
        placement_in_triton(parameters, "CPU", "0")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    halves = halves_of_vqvae(VqVae())
    with pytest.raises(PlacementError, match="torch sees no GPU"):
        PatchEncoder(halves, Placement(device="cuda:0"))


def test_the_semantic_order_follows_the_first_principal_component() -> None:
    rng = np.random.default_rng(5)
    place = rng.permutation(128)
    codebook = np.outer(place, [0.1, 3, 0.2]) + rng.normal(0, 1e-3, (128, 3))
    assert principal_order(codebook) == list(place)
    assert principal_order(codebook + 100) == list(place)
    assert principal_order(-codebook) == list(127 - place)


def test_drawn_pictures_are_the_same_for_the_same_seed() -> None:
    np.testing.assert_array_equal(stained_pictures(2, 64, 1), stained_pictures(2, 64, 1))
    assert (stained_pictures(2, 64, 1) != stained_pictures(2, 64, 2)).any()
