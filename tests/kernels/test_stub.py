"""The type stub says what the compiled kernels are: same names, same parameters, same defaults."""

import ast
import inspect
from pathlib import Path

import pytest
from cases import for_each

import falcon_mnist
import falcon_mnist.kernels as package
from falcon_mnist.kernels import isa, variant

STUB = Path(falcon_mnist.__file__).with_name("kernels.pyi")


def public(names):
    return {name for name in names if not name.startswith("_")}


def defined(body):
    """The statements that define a name, by name; imports do not."""
    names = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names[node.name] = node
        elif isinstance(node, ast.Assign):
            names.update((target.id, node) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = node
    return {name: node for name, node in names.items() if not name.startswith("_") or name == "__init__"}


STUBBED = defined(ast.parse(STUB.read_text()).body)
FUNCTIONS = [name for name, node in STUBBED.items() if isinstance(node, ast.FunctionDef)]


def parameters_of(node):
    """Name, kind and default of each parameter."""
    given = node.args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    pairs = [(arg.arg, kind, default) for arg, default in zip(positional, defaults, strict=True)]
    kind = inspect.Parameter.KEYWORD_ONLY
    pairs += [(arg.arg, kind, default) for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    pairs += [(given.kwarg.arg, inspect.Parameter.VAR_KEYWORD, None)] if given.kwarg else []
    empty = inspect.Parameter.empty
    return [(name, kind, empty if default is None else ast.literal_eval(default)) for name, kind, default in pairs]


def signature_of(call):
    return [(p.name, p.kind, p.default) for p in inspect.signature(call).parameters.values()]


def test_the_same_names_stand_in_both():
    runtime = defined(ast.parse(Path(package.__file__).read_text()).body)
    assert set(STUBBED) == set(runtime) | set(package.__all__)
    assert all(hasattr(package, name) for name in STUBBED)


@for_each("name", FUNCTIONS)
def test_functions_have_the_same_parameters(name):
    assert parameters_of(STUBBED[name]) == signature_of(getattr(package, name))


@for_each("name", ["Network", "Optimizer", "Packed", "Workspace"])
def test_classes_have_the_same_members(name):
    members, runtime = defined(STUBBED[name].body), getattr(package, name)
    assert set(members) - {"__init__"} == public(vars(runtime))
    for member, node in members.items():
        if node.decorator_list:
            assert [ast.unparse(decorator) for decorator in node.decorator_list] == ["property"]
            assert inspect.isdatadescriptor(getattr(runtime, member))
        elif member != "__init__":  # that of a compiled class tells nothing of its parameters
            assert parameters_of(node) == signature_of(getattr(runtime, member))


def test_constructors_take_the_parameters_of_the_stub():
    network = package.Network(layers=[("linear", 3, 2)])
    assert package.Workspace(network=network, rows=4).training is False
    assert package.Workspace(network, 4, training=True).training is True
    with pytest.raises(TypeError, match="positional"):
        package.Workspace(network, 4, True)
    names = {
        name: [p for p, _, _ in parameters_of(defined(STUBBED[name].body)["__init__"])]
        for name in ("Network", "Workspace")
    }
    assert names == {"Network": ["self", "layers", "variant"], "Workspace": ["self", "network", "rows", "training"]}


def test_every_variant_has_all_that_the_package_takes_from_one(kernels):
    apart = {"UnsupportedIsaError", "isa", "supported", "variant", "Variant", "read_json", "TooManyError"}
    for name in set(STUBBED) - apart:
        assert hasattr(kernels, name)
        if name in FUNCTIONS:
            assert getattr(package, name) == getattr(variant(isa()), name)
