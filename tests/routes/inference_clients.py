"""Asks a server as users of Triton's client do, and prints what it answered.

    python inference_clients.py HOST:PORT MODEL IMAGE PIXELS HEIGHT WIDTH URI

Every case is of one image under seed 3, or of that image twice.
"""
import asyncio
import base64
import json
import sys

import numpy as np
import tritonclient.http as http
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException

place, model, image, pixels, height, width, uri = sys.argv[1:]
encoded = open(image, "rb").read()
rgb = np.fromfile(pixels, np.uint8).reshape(int(height), int(width), 3)
parameters = {"seed": 3}


def tensor(name, array, datatype="BYTES", binary=True):
    value = http.InferInput(name, list(array.shape), datatype)
    return [value.set_data_from_numpy(array, binary_data=binary)]


def texts(*values):
    return np.array(values, dtype=np.object_)


def told(result):
    return {
        "label": [x.decode() if isinstance(x, bytes) else x
                  for x in result.as_numpy("label").tolist()],
        "probabilities": result.as_numpy("probabilities").tolist(),
        "id": result.get_response()["id"],
        "binary": "data" not in result.get_output("label"),
    }


files = tensor("image", texts(encoded))
as_json = [http.InferRequestedOutput(name, binary_data=False)
           for name in ("label", "probabilities")]
as_bytes = [http.InferRequestedOutput(name)
            for name in ("label", "probabilities")]
inputs = {
    "bytes": files,
    "column": tensor("image", texts(encoded, encoded).reshape(2, 1)),
    "base64": tensor("image", texts(base64.b64encode(encoded).decode()),
                     binary=False),
    "uri": tensor("uri", texts(uri)),
    "uri in JSON": tensor("uri", texts(uri), binary=False),
    "pixels": tensor("pixels", np.stack([rgb, rgb]), "UINT8"),
    "pixels of one": tensor("pixels", rgb, "UINT8"),
    "pixels in JSON": tensor("pixels", rgb[None], "UINT8", binary=False),
}

client = http.InferenceServerClient(place, concurrency=2)
metadata = client.get_model_metadata(model)
answers = {}
for name, value in inputs.items():
    answers[name] = told(client.infer(model, value, parameters=parameters))
for name, outputs in {"JSON out": as_json, "bytes out": as_bytes}.items():
    answers[name] = told(client.infer(
        model, files, outputs=outputs, request_id=name, parameters=parameters))
for packing in ("gzip", "deflate"):
    answers[packing] = told(client.infer(
        model, files, parameters=parameters,
        request_compression_algorithm=packing,
        response_compression_algorithm=packing))
answers["version"] = told(client.infer(
    model, files, model_version=metadata["versions"][0],
    parameters=parameters))
waiting = [client.async_infer(model, files, parameters=parameters)
           for _ in range(2)]
for i, answer in enumerate(waiting):
    answers[f"async {i}"] = told(answer.get_result())


async def ask():
    async with aio.InferenceServerClient(place) as other:
        return told(await other.infer(model, files, parameters=parameters))


answers["aio"] = asyncio.run(ask())


def refusal(call):
    try:
        call()
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}
    raise AssertionError("it was taken")


print(json.dumps({
    "live": client.is_server_live(),
    "ready": client.is_server_ready() and client.is_model_ready(model),
    "extensions": client.get_server_metadata()["extensions"],
    "metadata": metadata,
    "answers": answers,
    "refusals": {
        "no image": refusal(
            lambda: client.infer(model, tensor("image", texts(b"no image")))),
        "datatype": refusal(
            lambda: client.infer(model, tensor("image", rgb, "UINT8"))),
        "model": refusal(lambda: client.infer("other", files)),
    },
}))
