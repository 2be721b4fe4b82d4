"""The second derivative that a piecewise linear network does not have."""

from collections import Counter, defaultdict
from string import digits

from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

# Operations by their backward nodes' names, without number: linear in all inputs together; in each input while the
# others are fixed; and linear or piecewise linear in the one input that they have.
SUMS = {"AddBackward", "CatBackward", "StackBackward", "SubBackward"}
PRODUCTS = {"AddmmBackward", "ConvolutionBackward", "MmBackward", "MulBackward"}
MAPS = {
    "AdaptiveAvgPool2DBackward",
    "AvgPool2DBackward",
    "CloneBackward",
    "ConstantPadNdBackward",
    "LeakyReluBackward",
    "MaxPool2DWithIndicesBackward",
    "MeanBackward",
    "PermuteBackward",
    "ReluBackward",
    "SqueezeBackward",
    "SumBackward",
    "ToCopyBackward",
    "TransposeBackward",
    "UnsafeViewBackward",
    "UpsampleNearest2DBackward",
    "ViewBackward",
}


def skip_zero_curvature(output: Tensor, samples: Tensor) -> None:
    """Let a later backward pass through ∇output(samples) skip what is zero if the network is piecewise linear.

    The gradient depends on the weights directly, and through the activations on weights, biases and samples. The second
    part is zero for convolutions, linear layers, ReLUs and averages, yet autograd computes it: zeros pass back through
    the whole network, two of the six passes of a gradient penalty. A network with any operation between samples and
    output that is not listed above is left alone.

    What depends on the activations alone, such as a bias, then gets no gradient (`None`) instead of zeros.

    Args:
        output: A sum of logits (), computed from the samples. Neither it nor any activation on the way may be
            differentiated any more, except through the gradient.
        samples: The leaf (N, ...) whose gradient was taken, with its graph.
    """
    path = _path(output, samples)
    if all(_is_piecewise_linear(node, inputs) for node, inputs in path.items()):
        for node in path:
            node.register_prehook(_drop)


def _path(output: Tensor, samples: Tensor) -> Counter[Node]:
    """Return the nodes by which the samples reach the output, each with how many of its inputs come from them."""
    users: defaultdict[Node, list[Node]] = defaultdict(list)
    found = [get_gradient_edge(output).node]
    while found:
        node = found.pop()
        for source, _ in node.next_functions:
            if source is not None:
                if source not in users:
                    found.append(source)
                users[source].append(node)
    path: Counter[Node] = Counter()
    reached = [get_gradient_edge(samples).node]
    while reached:
        for user in users[reached.pop()]:
            if user not in path:
                reached.append(user)
            path[user] += 1
    return path


def _is_piecewise_linear(node: Node, inputs: int) -> bool:
    kind = node.name().rstrip(digits)
    if kind == node.name():  # a function of the user's own, which has no number, may have any name
        return False
    return kind in SUMS or (inputs == 1 and (kind in MAPS or kind in PRODUCTS))


def _drop(gradients: tuple[Tensor | None, ...]) -> tuple[None, ...]:
    return tuple(None for _ in gradients)
