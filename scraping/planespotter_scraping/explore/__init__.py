"""One page that shows a catalog: `page.write` makes it, from the numbers of `stats` and a few small pictures."""
