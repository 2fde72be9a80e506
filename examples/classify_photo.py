"""Classify one photo, and say how sure each level of the answer is.

python classify_photo.py photo.jpg [HOST:PORT]
"""

import sys

from planespotter_client import DEFAULT_ADDRESS, PlaneSpotter


def main(photo: str, address: str = DEFAULT_ADDRESS) -> None:
    """Print the answer for `photo`, its path through the label tree, and the most probable aircraft."""
    with PlaneSpotter(address) as spotter:
        answer = spotter.classify(photo, alternatives=3)
    print(answer)
    for label in (answer.constructor, answer.family, answer.model):
        if label.name:  # the label tree may end at the family
            print(f"  {label.name}: {label.probability:.1%}")
    print("most probable aircraft:")  # the first may be of another constructor, which has fewer that are probable
    for leaf in answer.alternatives:
        print(f"  {leaf.constructor} {leaf.model or leaf.family}: {leaf.probability:.1%}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        print("usage: python classify_photo.py photo.jpg [HOST:PORT]", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
