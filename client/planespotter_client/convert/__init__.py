"""Converting results of `classify` into what other tools read: XMP sidecars, Label Studio, COCO and Excel."""
