"""The backing store: which keys are which rows, and the databases that have them.

Read ``mapping.py`` for what can be said, ``plan.py`` for how rows become values and values rows,
then ``store.py`` for what a database has to do.  Values are plain, as in the snapshot codec.
"""
