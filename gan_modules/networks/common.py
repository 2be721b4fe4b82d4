"""What the convolutional networks for square images share."""

from collections.abc import Sequence

SIZES = (8, 16, 32, 64, 128, 256)


def count_doublings(network: str, image_shape: Sequence[int]) -> int:
    """Count the doublings that lead from 4×4 to the images' height and width.

    Args:
        network: Name of the network that asks, for the error.
        image_shape: (C, H, W).

    Raises:
        ValueError: The images are not square with a size out of `SIZES`.
    """
    if len(image_shape) != 3 or image_shape[1] != image_shape[2] or image_shape[1] not in SIZES:
        raise ValueError(
            f"{network} cannot be built for image_shape {tuple(image_shape)}: height and width must be equal "
            f"and one of {', '.join(map(str, SIZES))}; resize or pad the images to one of these sizes."
        )
    return image_shape[1].bit_length() - 3
