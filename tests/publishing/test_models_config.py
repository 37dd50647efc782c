"""`models.config`, which tells TensorFlow Serving the names of all models."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tfgen import GAN
from tfgen.publishing import export, versions


def smallest() -> GAN:
    """A model that is published quickly."""
    return GAN(
        image_shape=(6, 6, 1), latent_dim=2, generator_hidden=(2,), discriminator_hidden=(2,)
    )


def read_config(folder: Path) -> dict[str, str]:
    text = (folder / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    models = config.model_config_list.config
    assert all(model.model_platform == "tensorflow" for model in models)
    return {model.name: model.base_path for model in models}


def test_the_servers_configuration_names_all_models(tmp_path: Path) -> None:
    for name in ("gan", "gan-2d"):
        export.publish(smallest(), tmp_path, name)
    assert read_config(tmp_path) == {"gan": "/models/gan", "gan-2d": "/models/gan-2d"}


def test_a_name_that_appears_while_the_configuration_is_written_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = iter([["a"], ["a", "b"], ["a", "b"]])
    monkeypatch.setattr(versions, "names", lambda folder: next(listings))
    export.write_models_config(tmp_path)
    assert read_config(tmp_path).keys() == {"a", "b"}


def test_a_configuration_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    own = 'model_config_list { config { name: "gan" base_path: "/elsewhere" } }\n'
    (tmp_path / "models.config").write_text(own)
    export.write_models_config(tmp_path)
    assert (tmp_path / "models.config").read_text() == own
