"""Converters from PyTorch files to latentjax model folders, and of transformers back; they need no PyTorch."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flax import nnx

from converters import kinds, rules, torch_file, torch_writer, transformer
from converters.rules import Recipe, State
from latentjax import networks, weights
from latentjax.errors import InputError
from latentjax.files import refuse_existing, write_json


def opened(source: os.PathLike | str) -> tuple[torch_file.TorchFile, State, str]:
    """A file, its tensors, and the prefix of all their keys that was left out for their architecture to be known.

    Raises:
        InputError: not a readable file, or no network in it.
    """
    file = torch_file.read(source)
    return file, *torch_file.without_prefix(torch_file.state_dict(file), kinds.recognised)


@contextmanager
def telling(prefix: str) -> Iterator[None]:
    """Errors tell that the keys in them are without their prefix, where they are.

    Raises:
        InputError: whatever is raised inside.
    """
    try:
        yield
    except InputError as error:
        if not prefix:
            raise
        raise InputError(error.where, f"{error.what} (keys are given without their {prefix!r})", error.todo) from error


def network_in(
    file: torch_file.TorchFile, state: State, prefix: str, kind: str | None, options: dict[str, Any]
) -> tuple[Recipe, State]:
    """The recipe for a file, and its weights by their paths in our network, in float32.

    Args:
        file, state, prefix: what `opened` gave.
        kind, options: as `convert` takes them.

    Raises:
        InputError: a foreign architecture, a tensor that does not fit, or an option that is missing or contradicts the
            file.
    """
    with telling(prefix):
        recipe = kinds.recipe_for(kinds.kind_of(state, file.path, kind), state, file, options, kind)
        return recipe, rules.apply(recipe, weights.shapes_of(recipe.kind, recipe.config), file.path)


def convert(
    source: os.PathLike | str,
    destination: os.PathLike | str,
    kind: str | None = None,
    *,
    num_classes: int | None = None,
    padding: str | None = None,
    bn_epsilon: float | None = None,
    output: str | None = None,
    output_class: int | None = None,
    class_reg: float | None = None,
    renorm: str | None = None,
    compat: str | None = None,
    preprocessing: str | None = None,
    image_size: int | None = None,
    dtype: str = "float32",
) -> dict[str, Any]:
    """Converts a PyTorch file into a model folder.

    Args:
        source: a file of `torch.save`, zip or legacy, state dict or whole pickled module; a safetensors file; or a
            folder from Hugging Face.
        destination: the folder to make; refused if there.
        kind: a name of `converters.kinds.KINDS` or of `latentjax.transformers.KINDS`, ours or
            the published one; None: by the keys and shapes.
        num_classes: DCGAN: how many of the inputs are classes. Transformer: C, where y does not move (default 1000).
        padding: EfficientNet whose keys do not tell it: see `latentjax.assessors.efficientnet.conv_padding`.
        bn_epsilon: likewise: of its norms (default: its package's, where it has one).
        preprocessing: likewise: a name of `converters.efficientnet.PREPROCESSINGS`.
        image_size: EfficientNet: pixels to which it scales images (default: the variant's own, 224 of B0 to 600 of B7).
        output, output_class: EfficientNet: what its score is, see `latentjax.assessors.outputs.Output`; a head of one
            output needs "sigmoid" or "regression".
        class_reg: transformer: what divides D_y (default 1000).
        compat: BigGAN-deep: "huggingface" mixes its norms' statistics as that port does, see
            `latentjax.generators.biggan_deep.row_weights`.
        renorm: transformer: see `latentjax.transformers.Transformer` (default "batch", as published).
        dtype: "float16" halves the folder and rounds the weights, see `rules.halved`; all is computed in float32.

    Returns:
        The model's kind, config and number of parameters, without running statistics, as papers count.

    Raises:
        InputError: not a readable file, a foreign architecture, a tensor that does not fit, an option that is
            missing or contradicts the file, or a destination that is there or cannot be written.
    """
    options = {
        "num_classes": num_classes,
        "padding": padding,
        "bn_epsilon": bn_epsilon,
        "output": output,
        "output_class": output_class,
        "class_reg": class_reg,
        "renorm": renorm,
        "compat": compat,
        "preprocessing": preprocessing,
        "image_size": image_size,
    }
    kinds.check_options(kind, options | {"dtype": dtype})
    refuse_existing(destination)
    file, state, prefix = opened(source)
    recipe, arrays = network_in(file, state, prefix, kind, options)
    if dtype == "float16":
        arrays = rules.halved(arrays, recipe, file.path)
    origin = {"file": os.path.basename(file.path), "sha256": file.sha256}
    weights.save(destination, arrays, recipe.kind, recipe.config, origin)
    parameters = sum(array.size for path, array in arrays.items() if not path.endswith(rules.STATISTICS))
    return {"kind": recipe.kind, "config": recipe.config, "parameters": parameters}


def prove(
    source: os.PathLike | str,
    folder: os.PathLike | str | None = None,
    kind: str | None = None,
    *,
    place: os.PathLike | str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Compares our network with our PyTorch version of it on a user's own file, see `converters.oracles.proof`.

    Args:
        source: as for `convert`.
        folder: a model folder that was converted from it; the certificate goes into its model.json.
        kind, options: as for `convert`, without dtype.
        place: a file for the certificate, which must not be there.

    Returns:
        The certificate: figures, versions, the file's sha256, the date, and whether it `passed`.

    Raises:
        InputError: PyTorch is not installed, the file cannot be converted, the folder is of another file or of
            other settings, or it or the place cannot be written, which is looked at first.
        TypeError: an option that there is not.
    """
    if unknown := options.keys() - set(kinds.SETTINGS):
        raise TypeError(f"prove() got an unexpected keyword argument {min(unknown)!r}")
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        told = str(error).splitlines()[0][:100]
        what = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be imported ({told})"
        raise InputError("torch", f"{what}, and is what a file is proven against", "pip install torch") from error
    from converters.oracles import proof, proof_networks, reading

    options = {name: options.get(name) for name in kinds.SETTINGS}
    kinds.check_options(kind, options | {"dtype": "float32"})
    record_file = None if folder is None else os.path.join(folder, "model.json")
    if place is not None:
        refuse_existing(place, "file")
    file, state, prefix = opened(source)
    recipe, arrays = network_in(file, state, prefix, kind, options)
    record = {} if folder is None else record_of(folder, recipe, file, arrays)
    for path in (place, record_file):
        if path is not None and not os.access(os.path.dirname(path) or ".", os.W_OK | os.X_OK):
            raise InputError(path, "cannot be written", "use a folder that you can write")
    found = kinds.kind_of(state, file.path, kind)
    with telling(prefix):
        read = proof_networks.Read(state, lambda tensors: kinds.recipe_for(found, tensors, file, options, kind))
        certificate = proof.certificate(os.path.basename(file.path), file.sha256, reading.beside_pytorch(file), read)
    for path, content in ((place, certificate), (record_file, record | {"proof": certificate})):
        try:
            if path is not None:
                write_json(path, content)
        except OSError as error:
            todo = "free space, or use another folder"
            raise InputError(path, f"cannot be written ({error.strerror})", todo) from error
    return certificate


def record_of(folder: os.PathLike | str, recipe: Recipe, file: torch_file.TorchFile, arrays: State) -> dict[str, Any]:
    """model.json of a folder that holds what a file is converted to.

    Raises:
        InputError: it does not.
    """
    record = weights.read_record(folder, weights.ROLE_OF[recipe.kind])
    if record["source"].get("sha256") != file.sha256:
        raise InputError(folder, f"was not converted from {file.path}", "give the folder that was")
    if json.loads(json.dumps(recipe.config)) != record["config"]:
        raise InputError(folder, "was converted with other settings", "add the flags that it was converted with")
    if record["weights_sha256"] == weights.digest(rules.rounded(arrays)):
        what = "was converted with --dtype=float16, and its rounded weights are not what is proven"
        raise InputError(folder, what, "convert the file again, without --dtype")
    if record["weights_sha256"] != weights.digest(arrays):
        raise InputError(folder, "holds other weights than the file is converted to here", "convert the file again")
    return record


def export(folder: os.PathLike | str, file: os.PathLike | str) -> dict[str, Any]:
    """Writes a transformer as a state dict that the published code loads.

    Args:
        folder: a run folder or a transformer folder.
        file: the .pth file to write; refused if there.

    Returns:
        The published name of its kind; `class_reg` and `renorm`, which the file does not hold; `noise_dims`, and
        whether the published code makes it with these (`fits`); the `flags` that `convert` needs to read it back.

    Raises:
        InputError: no transformer, one of no published kind, or a file that is there or cannot be written.
    """
    refuse_existing(file, "file")
    loaded = networks.load_transformer(folder)
    module: Any = nnx.merge(loaded.graph, loaded.state)
    kind, state = transformer.export(module, weights.named(loaded.state), folder)
    torch_writer.write(file, state)
    return {
        "kind": kind.published,
        "class_reg": module.class_reg,
        "renorm": module.renorm,
        "noise_dims": module.noise_dims,
        "fits": transformer.published_noise(module, kind) == module.noise_dims,
        "flags": transformer.flags_for(module, kind, state),
    }
