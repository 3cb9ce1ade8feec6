"""Views of the active generation for people with tools of their own, made from the row types of the projections."""
