"""Reads our exports as others' programs do, and prints what they hold.

    python exports.py geotiff FILE | npy FILE | events FOLDER
"""
import json
import sys

kind, path = sys.argv[1:]

if kind == "geotiff":
    import rasterio

    with rasterio.open(path) as file:
        values = file.read(1)
        told = {
            "size": [file.width, file.height],
            "dtype": str(values.dtype),
            "crs": file.crs and file.crs.to_string(),
            "bounds": list(file.bounds),
            "transform": list(file.transform)[:6],
            "overviews": file.overviews(1),
            "sum": float(values.sum(dtype="float64")),
            "max": float(values.max()),
        }
elif kind == "npy":
    import numpy

    values = numpy.load(path)
    told = {
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        "sum": float(values.sum(dtype="float64")),
        "max": float(values.max()),
    }
else:
    from tensorboard.backend.event_processing import event_accumulator

    events = event_accumulator.EventAccumulator(path)
    events.Reload()
    told = {
        tag: [[event.step, event.value] for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
print(json.dumps(told))
