"""Asks a server by the client that was made from its OpenAPI document.

    python generated_client.py URL TOKEN IMAGE

Prints as JSON what it answered.
"""
import io
import json
import sys
import time

from zoomin_client import AuthenticatedClient, Client
from zoomin_client.api.classify import post_classify
from zoomin_client.api.jobs import (
    delete_jobs_by_id, get_jobs, get_jobs_by_id, get_jobs_by_id_heatmap_png,
    get_jobs_by_id_result, post_jobs)
from zoomin_client.api.models import get_models
from zoomin_client.models import (
    BatchJob, Classification, ClassifyByPath, ClassifyJobByPath,
    CrossValidated, Error, Job, Models, PostClassifyFilesBody, TrainJob)
from zoomin_client.types import File

url, token, path = sys.argv[1:]
encoded = open(path, "rb").read()
client = AuthenticatedClient(url, token)


def file():
    return File(io.BytesIO(encoded), "a.png", "image/png")


def of(kind, answer):
    assert isinstance(answer, kind), answer
    return answer


def ended(job):
    while of(Job, job).state in ("queued", "running"):
        time.sleep(0.05)
        job = get_jobs_by_id.sync(job.id, client=client)
    assert job.state == "succeeded", job
    return job


def classified(body):
    answer = post_classify.sync(client=client, body=body, seed=3)
    return of(Classification, answer).probabilities.to_dict()


def refused(response):
    error = of(Error, response.parsed)
    return {"status": response.status_code, **error.to_dict()}


listed = of(Models, get_models.sync(client=client))
named = "images/test_00000.png"
single = ended(post_classify.sync(
    client=client, body=file(), seed=3, prefer="respond-async"))
again = ended(post_jobs.sync(
    client=client, body=ClassifyJobByPath("classify", named, seed=3)))
batch = ended(post_jobs.sync(
    client=client, body=BatchJob("batch", "manifest.csv")))
lines = client.get_httpx_client().get(batch.links["result"]).text
folds = ended(post_jobs.sync(client=client, body=TrainJob(
    "train", "manifest.csv", "folds", preset="needle", epochs=0, folds=2,
    protocol="held-out")))
validated = of(
    CrossValidated, get_jobs_by_id_result.sync(folds.id, client=client))
heatmap = of(File, get_jobs_by_id_heatmap_png.sync(single.id, client=client))
results = [get_jobs_by_id_result.sync(job.id, client=client)
           for job in (single, again)]
jobs = get_jobs.sync(client=client, limit=3).jobs
removed = delete_jobs_by_id.sync_detailed(batch.id, client=client)

print(json.dumps({
    "models": [model.name for model in listed.models],
    "probabilities": {
        "bytes": classified(file()),
        "form": classified(PostClassifyFilesBody(file())),
        "path": classified(ClassifyByPath(named)),
        "job of bytes": results[0].probabilities.to_dict(),
        "job of a path": results[1].probabilities.to_dict(),
    },
    "rows": len(lines.splitlines()),
    "folds": [fold.fold for fold in validated.protocols[0].folds],
    "heatmap": heatmap.payload.read(4).decode("latin-1"),
    "jobs": [job.kind for job in jobs],
    "removed": removed.status_code,
    "refusals": {
        "token": refused(get_models.sync_detailed(client=Client(url))),
        "field": refused(post_classify.sync_detailed(
            client=client, body=file(), samples=0)),
        "image": refused(post_classify.sync_detailed(
            client=client, body=File(io.BytesIO(b"no image")))),
        "gone": refused(get_jobs_by_id.sync_detailed(batch.id, client=client)),
    },
}))
