"""Network: VGG16 with hierarchical heads, its loss, checkpoints, initial weights and Grad-CAM."""
