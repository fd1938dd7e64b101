"""Equal computations are done once, before differentiation.

Adapting to a context and judging the adapted model on the same inputs runs the network twice over the same numbers:
batch moments are measured by a forward pass that the prediction then repeats. XLA removes the repetition from the
forward pass, but only after differentiation has given each copy a backward pass of its own, and those differ. Removing
it first leaves one forward and one backward pass (a third of the step's arithmetic less).
"""

from collections.abc import Callable, Hashable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun
from jaxtyping import PyTree


def share_equal_computations(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """The same function of trees of arrays, in which an operation met again with equal operands is not repeated.

    Two operands are equal if they are the same variable of the traced program. Calls with custom derivatives and loops
    are kept apart unless they were traced once and reused.
    """

    def shared(*args):
        closed, out_shape = jax.make_jaxpr(function, return_shape=True)(*args)
        values = jaxpr_as_fun(_without_repetition(closed))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(out_shape), values)

    return shared


def same_leaves_once(tree: PyTree) -> tuple[list[Any], Callable[[list[Any]], PyTree]]:
    """The distinct leaves of a tree, and the function that puts them back.

    A task whose context and query hold one array would reach a transformed function as two arguments, and their
    equality be lost.
    """
    leaves, structure = jax.tree.flatten(tree)
    position: dict[int, int] = {}
    for leaf in leaves:
        position.setdefault(id(leaf), len(position))
    order = [position[id(leaf)] for leaf in leaves]
    distinct = list({id(leaf): leaf for leaf in leaves}.values())
    return distinct, lambda given: jax.tree.unflatten(structure, [given[place] for place in order])


def _without_repetition(closed: ClosedJaxpr) -> ClosedJaxpr:
    first_of: dict[Any, Any] = {}  # variable -> the equal variable that was computed first
    done: dict[Hashable, list[Any]] = {}  # operation and operands -> its results
    kept = []

    def resolve(atom):
        return atom if isinstance(atom, Literal) else first_of.get(atom, atom)

    for equation in closed.jaxpr.eqns:
        operands = [resolve(atom) for atom in equation.invars]
        identity = _identity(equation, operands)
        earlier = None if equation.effects else done.get(identity)
        if earlier is None:
            kept.append(equation.replace(invars=operands))
            done[identity] = equation.outvars
        else:
            first_of.update(zip(equation.outvars, earlier, strict=True))
    jaxpr = closed.jaxpr.replace(eqns=kept, outvars=[resolve(atom) for atom in closed.jaxpr.outvars])
    return ClosedJaxpr(jaxpr, closed.consts)


def _identity(equation: Any, operands: list[Any]) -> Hashable:
    # Literals are equal by value; nested programs and functions by being the same object.
    arguments = tuple(
        ("literal", str(atom.aval), str(atom.val)) if isinstance(atom, Literal) else atom for atom in operands
    )
    params = tuple((name, _hashable(value)) for name, value in sorted(equation.params.items()))
    return equation.primitive, arguments, params


def _hashable(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value
