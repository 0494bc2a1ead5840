"""The memory queue keeps the last rows, whatever the batch size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_mlcl.losses import MemoryQueue, MSCLoss, MulSupConLoss


def rows(start, n):
    values = torch.arange(start, start + n, dtype=torch.float32)[:, None]
    return values, (values % 2 == 0)


@settings(deadline=None, max_examples=30)
@given(size=st.integers(1, 7), batches=st.lists(st.integers(0, 12), max_size=6))
def test_holds_the_last_rows(size, batches):
    queue, pushed = MemoryQueue(size, 1, 1), 0
    for n in batches:
        queue.push(*rows(pushed, n))
        pushed += n
    kept = list(range(max(0, pushed - size), pushed))
    assert len(queue) == len(kept)
    assert sorted(queue.embeddings.squeeze(1).tolist()) == kept
    assert torch.equal(queue.labels, queue.embeddings % 2 == 0)


def test_reset_and_state_dict():
    queue = MemoryQueue(4, 1, 1)
    queue.push(*rows(0, 6))
    twin = MemoryQueue(4, 1, 1)
    twin.load_state_dict(queue.state_dict())
    assert torch.equal(twin.embeddings, queue.embeddings)
    twin.push(*rows(6, 1))
    assert sorted(twin.embeddings.squeeze(1).tolist()) == [3, 4, 5, 6]
    queue.reset()
    assert queue.embeddings.shape == (0, 1)
    assert len(twin) == 4


def test_push_detaches_and_leaves_handed_out_rows_alone():
    queue = MemoryQueue(2, 1, 1)
    values, labels = rows(0, 2)
    queue.push(values.requires_grad_(), labels)
    old = queue.embeddings
    queue.push(*rows(5, 2))
    assert old.tolist() == [[0.0], [1.0]]
    assert not queue.embeddings.requires_grad


@pytest.mark.parametrize("loss", [MulSupConLoss(reduction="none"), MSCLoss(reduction="none")])
def test_losses_read_an_empty_queue_and_push_between_forward_and_backward(loss):
    torch.manual_seed(0)
    z, Y = torch.randn(5, 3, requires_grad=True), torch.rand(5, 4) < 0.5
    queue = MemoryQueue(8, 3, 4)
    without = loss(z, Y)
    assert torch.equal(loss(z, Y, queue=queue.embeddings, queue_labels=queue.labels), without)
    queue.push(torch.randn(6, 3), torch.rand(6, 4) < 0.5)
    value = loss(z, Y, queue=queue.embeddings, queue_labels=queue.labels).sum()
    (expected,) = torch.autograd.grad(value, z, retain_graph=True)
    queue.push(z, Y)
    assert torch.equal(torch.autograd.grad(value, z)[0], expected)


def test_a_queue_of_members_is_a_queue_for_each():
    """Through several rounds, one batch longer than the queue; and its state moves to another."""
    torch.manual_seed(0)
    together = MemoryQueue(7, 2, 3, n_members=3)
    alone = [MemoryQueue(7, 2, 3) for _ in range(3)]
    for n in (3, 5, 9, 2):
        embeddings, labels = torch.randn(3, n, 2), torch.rand(3, n, 3) < 0.5
        labels = labels[0] if n == 5 else labels  # shared by the members
        together.push(embeddings, labels)
        for queue, own, of_own in zip(alone, embeddings, labels.expand(3, n, 3), strict=True):
            queue.push(own, of_own)
        assert len(together) == len(alone[0])
        assert torch.equal(together.embeddings, torch.stack([q.embeddings for q in alone]))
        assert torch.equal(together.labels, torch.stack([q.labels for q in alone]))
    other = MemoryQueue(7, 2, 3, n_members=3)
    other.load_state_dict(together.state_dict())
    assert torch.equal(other.embeddings, together.embeddings)
    with pytest.raises(ValueError, match=r"embeddings must have shape \(3, 4, 2\)"):
        together.push(torch.zeros(4, 2), torch.ones(4, 3).bool())


def test_bad_input():
    with pytest.raises(ValueError, match="'queue_size' parameter of MemoryQueue must be an int"):
        MemoryQueue(0, 1, 1)
    with pytest.raises(ValueError, match="'n_members' parameter of MemoryQueue"):
        MemoryQueue(7, 2, 3, n_members=0)
    with pytest.raises(ValueError, match=r"labels must have shape \(2, 3\)"):
        MemoryQueue(4, 1, 3).push(torch.zeros(2, 1), torch.zeros(2, 2).bool())
    with pytest.raises(ValueError, match=r"embeddings must have shape \(2, 1\)"):
        MemoryQueue(4, 1, 3).push(torch.zeros(2, 2), torch.zeros(2, 3).bool())
    with pytest.raises(TypeError, match="may hold NaN"):
        MemoryQueue(4, 1, 1).push(torch.zeros(2, 1), torch.zeros(2, 1))
