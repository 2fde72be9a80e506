"""Classify one photo and print the probability at each level.

python classify_photo.py photo.jpg [HOST:PORT]
"""

import sys

from planespotter_client import DEFAULT_ADDRESS, PlaneSpotter


def main(photo: str, address: str = DEFAULT_ADDRESS) -> None:
    """Print the prediction for `photo`, its path through the label tree, and the top three candidates."""
    with PlaneSpotter(address) as spotter:
        prediction = spotter.classify(photo, top_k=3)
    print(prediction)
    for node in prediction.path:  # the label tree may end at the family
        print(f"  {node.name}: {node.probability:.1%}")
    print("candidates:")  # the first may be of another constructor, which has fewer probable models
    for candidate in prediction.candidates:
        print(f"  {candidate.name}: {candidate.probability:.1%}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        print("usage: python classify_photo.py photo.jpg [HOST:PORT]", file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
