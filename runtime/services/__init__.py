"""What steps use around their work: values, documents, blobs, queues, other workflows.

One idea: **what a step writes is part of its result.** It is gathered in a transaction that only this attempt sees, and
goes into the very batch that records the result; an attempt that fails or is cut off has written nothing.
"""
