"""Network: VGG16 with one head per constructor, its loss, checkpoints and pretrained weights."""
