"""Groups as tables, against the axioms and against matrices that multiply in the same way."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from mutatis.symmetry import Group, cyclic, dihedral, product, symmetric

GROUPS = [cyclic(1), cyclic(2), cyclic(5), cyclic(12), dihedral(1), dihedral(2), dihedral(3), dihedral(8)]
GROUPS += [symmetric(1), symmetric(2), symmetric(4), product(cyclic(4), cyclic(6)), product(symmetric(3), dihedral(4))]


def order_of(group, g):
    power, count = g, 1
    while power != group.identity:
        power, count = group.table[power, g], count + 1
    return count


def orders(group):
    return Counter(order_of(group, g) for g in range(group.order))


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_the_axioms_hold(group):
    table, elements = group.table, np.arange(group.order)
    assert np.array_equal(table[table], table[:, table])  # (g h) k = g (h k)
    assert np.array_equal(table[group.identity], elements)
    assert np.array_equal(table[:, group.identity], elements)
    assert (table[elements, group.inverse] == group.identity).all()
    assert (table[group.inverse, elements] == group.identity).all()
    assert len(set(group.names)) == len(group.names) == group.order
    assert group.names[group.identity] in ("e", "(e, e)")


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_words_in_the_generators_reach_every_element(group):
    found = {group.identity}
    for _ in range(group.order):
        found |= {int(group.table[g, h]) for g, h in itertools.product(group.generators, found)}
    assert found == set(range(group.order))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8])
def test_the_dihedral_group_multiplies_as_turns_and_reflections_of_the_plane_do(n):
    group = dihedral(n)
    assert group.order == 2 * n
    angle = 2 * np.pi * np.arange(n) / n
    turns = np.stack([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    matrices = np.concatenate([turns, turns @ np.diag([1.0, -1.0])])
    assert np.allclose(matrices[:, None] @ matrices[None], matrices[group.table], atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_the_symmetric_group_multiplies_as_permutation_matrices_do(n):
    group = symmetric(n)
    assert group.order == math.factorial(n)
    images = np.array(list(itertools.permutations(range(n))))
    matrices = np.eye(n)[:, images].transpose(1, 0, 2)  # column i of g is the unit vector g(i)
    assert np.array_equal(matrices[:, None] @ matrices[None], matrices[group.table])


def test_cycles_name_the_elements_of_the_symmetric_group():
    assert symmetric(3).names == ("e", "(1 2)", "(0 1)", "(0 1 2)", "(0 2 1)", "(0 2)")


def test_six_things_are_the_largest_symmetric_group():
    group = symmetric(6)
    assert group.order == 720
    assert len(group.generators) == 2
    with pytest.raises(ValueError, match="n is 7"):
        symmetric(7)


def test_groups_that_are_known_to_be_the_same_have_elements_of_the_same_orders():
    assert orders(product(cyclic(2), cyclic(3))) == orders(cyclic(6))
    assert orders(product(cyclic(2), cyclic(2))) == orders(dihedral(2)) != orders(cyclic(4))
    assert orders(dihedral(3)) == orders(symmetric(3)) == {1: 1, 2: 3, 3: 2}
    assert orders(dihedral(6)) == orders(product(cyclic(2), dihedral(3)))
    assert orders(symmetric(4)) == {1: 1, 2: 9, 3: 8, 4: 6}


def test_equal_groups_are_equal_by_value_whatever_their_names():
    assert cyclic(4) == Group("turns", cyclic(4).table, (1,), ("0", "90", "180", "270"))
    assert hash(cyclic(4)) == hash(cyclic(4))
    assert cyclic(4) != product(cyclic(2), cyclic(2))
    assert cyclic(4) != dihedral(2)


def test_a_table_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        cyclic(3).table[0, 0] = 1


# Every element its own inverse and every equation solvable, but 5 is odd: no group (the smallest loop).
LOOP = [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]


@pytest.mark.parametrize(
    ("table", "generators", "cause"),
    [
        (LOOP, (1, 2), "not associative"),
        ([[0, 1], [0, 1]], (1,), "no group's: every row and column"),
        ([[1, 2, 0], [0, 1, 2], [2, 0, 1]], (0,), "one an identity"),
        ([[0, 1, 2]], (1,), "shape"),
        (cyclic(4).table, (2,), "only a part"),
        (cyclic(4).table, (4,), "name at least one of 0 ... 3"),
        (cyclic(4).table, (), "name at least one of 0 ... 3"),
    ],
)
def test_what_is_no_group_is_refused(table, generators, cause):
    with pytest.raises(ValueError, match=cause):
        Group("G", np.array(table), generators, tuple("abcde"[: len(table)]))


def test_other_mistakes_are_refused_by_name():
    with pytest.raises(ValueError, match="n is 0"):
        cyclic(0)
    with pytest.raises(ValueError, match="n is -1"):
        dihedral(-1)
    with pytest.raises(ValueError, match="names has 1 entries"):
        Group("C2", cyclic(2).table, (1,), ("e",))
