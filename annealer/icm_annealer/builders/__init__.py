"""Builders: they turn published files into rows for the tasks that ship no data (`icm data`).

Every builder is a function of rows and a seed. Gold stays in its own field, `label`; `consistency_id` is the group.
"""
