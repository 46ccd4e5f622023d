"""Clusters of pixels: placed by hand, and compared with a search from pixel to pixel."""

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from tmt_dq.core.boxes import cover
from tmt_dq.core.clusters import find_clusters

images = hnp.arrays(
    np.bool_,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.booleans(),
)


def picture(text: str) -> npt.NDArray[np.bool_]:
    """Return an image as it is drawn: the last line is the first row."""
    return np.array([[c == "#" for c in line] for line in reversed(text.split())])


def described(image: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int, int]]:
    """Return size, y, x, ny and nx of each cluster."""
    found = find_clusters(image)
    bounds = found.bounds
    columns = (found.size, bounds.y, bounds.x, bounds.ny, bounds.nx)
    return list(zip(*(map(int, column) for column in columns), strict=True))


def peer(image: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int, int]]:
    """Return the same by walking from each pixel to its neighbours."""
    left = set(zip(*(places.tolist() for places in np.nonzero(image)), strict=True))
    found = []
    for start in sorted(left):
        if start not in left:
            continue
        group, edge = [], [start]
        left.discard(start)
        while edge:
            y, x = edge.pop()
            group.append((y, x))
            steps = ((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
            near = {(y + dy, x + dx) for dy, dx in steps}
            edge += near & left
            left -= near
        (y, y2), (x, x2) = ((min(places), max(places)) for places in zip(*group, strict=True))
        found.append((len(group), y, x, y2 - y + 1, x2 - x + 1))
    return found


def test_corners_join() -> None:
    image = picture(
        """
        #.....
        .#..##
        .....#
        """
    )
    assert described(image) == [(3, 0, 4, 2, 2), (2, 1, 0, 2, 2)]


@given(images)
def test_clusters_of_random_images(image: npt.NDArray[np.bool_]) -> None:
    assert described(image) == peer(image)


@given(hnp.arrays(np.uint32, (7, 9), elements=st.sampled_from([0, 0, 5, 2**31])))
def test_boxes_hold_exactly_the_pixels_and_do_not_overlap(image: npt.NDArray[np.uint32]) -> None:
    drawn = np.zeros_like(image)
    boxes = cover(image)
    for y, x, ny, nx in zip(boxes.y, boxes.x, boxes.ny, boxes.nx, strict=True):
        place = (slice(y, y + ny), slice(x, x + nx))
        assert not drawn[place].any()
        drawn[place] = image[y, x]
    np.testing.assert_array_equal(drawn, image)


def test_equal_runs_of_consecutive_rows_become_one_box() -> None:
    image = np.zeros((9, 9), np.bool_)
    image[1:4, 2:7] = True
    image[6, 2:7] = True
    boxes = cover(image)
    found = zip(boxes.y, boxes.x, boxes.ny, boxes.nx, strict=True)
    assert sorted(tuple(map(int, box)) for box in found) == [(1, 2, 3, 5), (6, 2, 1, 5)]
