"""`models.config`, which tells TensorFlow Serving the names of all models."""

from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from tfgen import GAN
from tfgen.publishing import export


def test_the_servers_configuration_names_all_models(tmp_path: Path) -> None:
    widths = {"generator_hidden": (2,), "discriminator_hidden": (2,)}
    for name in ("gan", "gan-2d"):
        export.publish(GAN(image_shape=(6, 6, 1), latent_dim=2, **widths), tmp_path, name)
    text = (tmp_path / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    models = config.model_config_list.config
    assert all(model.model_platform == "tensorflow" for model in models)
    expected = {"gan": "/models/gan", "gan-2d": "/models/gan-2d"}
    assert {model.name: model.base_path for model in models} == expected


def test_a_configuration_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    own = 'model_config_list { config { name: "gan" base_path: "/elsewhere" } }\n'
    (tmp_path / "models.config").write_text(own)
    export.write_models_config(tmp_path)
    assert (tmp_path / "models.config").read_text() == own
