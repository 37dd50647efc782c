"""What Keras offers for a model, as functions that use it and check the effect.

Each takes a `Case` and fails if the model does not do what Keras promises. `REFUSALS` has those
that a family refuses.
"""

from tests.models.verbs import compiling, data, saving
from tests.models.verbs.case import Case as Case
from tests.models.verbs.case import Verb as Verb
from tfgen import GAN, VAE, Classifier, Flow

VERBS: dict[str, dict[str, Verb]] = {
    "data": {
        "`fit` of NumPy arrays": data.fit_arrays,
        "`fit` of tensors": data.fit_tensors,
        "`fit` of a `tf.data.Dataset`": data.fit_dataset,
        "`fit` of a `tf.data.Dataset` without static shapes": data.fit_dataset_without_shapes,
        "`fit` of a `keras.utils.PyDataset`": data.fit_pydataset,
        "`fit` of a generator": data.fit_generator,
        "`validation_split`": data.fit_validation_split,
        "`validation_data`": data.fit_validation_data,
        "`steps_per_epoch`": data.fit_steps_per_epoch,
        "`sample_weight`": data.fit_sample_weight,
        "`class_weight`": data.fit_class_weight,
        "`evaluate`": data.evaluate,
        "`predict`": data.predict,
        "`train_on_batch`, `test_on_batch`, `predict_on_batch`": data.on_batch,
    },
    "`compile`": {
        "`run_eagerly` on and off": compiling.compile_graph,
        "`jit_compile=True`": compiling.compile_jit,
        "`steps_per_execution`": compiling.compile_steps_per_execution,
        "`metrics` in `compile`": compiling.compile_metrics,
        "`loss` in `compile`": compiling.compile_loss,
    },
    "optimizers": {
        "`use_ema`": compiling.optimizer_use_ema,
        "`gradient_accumulation_steps`": compiling.optimizers_accumulate,
        compiling.OPTIMIZER_NAMES: compiling.train_with_each,
    },
    "saving and copying": {
        "`save` as `.keras`, and `load_model`": saving.save_and_load,
        "`save_weights` and `load_weights`": saving.save_weights,
        "`get_weights` and `set_weights`": saving.set_weights,
        "`export`": saving.export,
        "`clone_model`": saving.clone_model,
        "`get_config` and `from_config`": saving.from_config,
        "`to_json` and `model_from_json`": saving.to_json,
        "`pickle`": saving.pickled,
        "`copy.deepcopy`": saving.deep_copied,
        "`summary` with the networks' shapes": saving.summary,
        "`trainable = False` of a network": saving.freeze,
    },
}

ALL = (VAE, GAN, Flow, Classifier)
# Verb → families that refuse it → parts of the error.
REFUSALS: dict[str, dict[type, tuple[str, ...]]] = {
    "`loss` in `compile`": dict.fromkeys(ALL, ("loss",)),
    "`metrics` in `compile`": dict.fromkeys((GAN, Flow), ("metrics",)),
}
