"""The object store: any server that speaks S3, for finished cells, checkpoints, data sets and reports.

Below the prefix of a store `s3://BUCKET/PREFIX`:

cells/<address>.tar                 a finished artifact
checkpoints/<address>.safetensors   the checkpoint of a running stage, gone when the stage is done
data/<name or content digest>.tar   a mirrored data set
runs/<run name>/                    report.html, report.md, results.json
"""

from realfeatures.store.client import ObjectStore, StoredObject

__all__ = ["ObjectStore", "StoredObject"]
