"""What several networks ask of their arguments."""

from collections.abc import Sequence

SIZES = (8, 16, 32, 64, 128, 256)


def check_sizes(network: str, image_shape: Sequence[int], **sizes: int) -> None:
    """Refuse sizes of which no network can be built.

    Args:
        network: Name of the network that asks, for the error.
        image_shape: (C, H, W) or (D,).
        **sizes: Widths by the name of their argument.

    Raises:
        ValueError: One of them is below 1.
    """
    if not image_shape or min(image_shape) < 1:
        raise ValueError(f"{network} cannot be built for image_shape {tuple(image_shape)}: all must be at least 1.")
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{network} cannot be built with {name}={size}: it must be at least 1.")


def count_doublings(network: str, image_shape: Sequence[int], sizes: Sequence[int] = SIZES) -> int:
    """Count the doublings that lead from 4×4 to the images' height and width.

    Args:
        network: Name of the network that asks, for the error.
        image_shape: (C, H, W).
        sizes: Powers of two that the network can be built for.

    Raises:
        ValueError: The images are not square with one of these sizes.
    """
    if len(image_shape) != 3 or image_shape[1] != image_shape[2] or image_shape[1] not in sizes:
        raise ValueError(
            f"{network} cannot be built for image_shape {tuple(image_shape)}: height and width must be equal "
            f"and one of {', '.join(map(str, sizes))}; resize or pad the images to one of these sizes."
        )
    return image_shape[1].bit_length() - 3
