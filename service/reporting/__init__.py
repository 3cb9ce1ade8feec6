"""Reports for people with tools of their own: database roles that read the views, and files of the views."""
