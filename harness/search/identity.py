"""What makes trials comparable: one study, one name."""

from __future__ import annotations

from harness.families import Family
from harness.hashing import short_hash
from harness.records.base import FORMAT
from harness.records.study import DatasetRecord, ProtocolRecord, Provenance, StudyRecord
from harness.search.space import space_hash
from harness.settings import SearchSettings


def study_record(
    family: Family,
    dataset: DatasetRecord,
    protocol: ProtocolRecord,
    provenance: Provenance,
    search: SearchSettings,
    budget_bytes: int,
) -> StudyRecord:
    """Describe the study of a family. Its name is the family and a hash of all that makes results comparable.

    The format of records is a part of it: what one version wrote, another one takes for a study of its own.

    Args:
        family: with the embeddings that are available, if it is one on embeddings.
        search: of these, the epochs, the seed, the size of the space and the time limit of a trial.
        budget_bytes: the most GPU memory that a trial may hold.
    """
    space = space_hash(family, search.quick)
    embeddings = {name: input_spec.source for name, input_spec in family.embeddings.items()}
    identity = {
        "format": FORMAT,
        "dataset": dataset.fingerprint,
        "protocol": protocol.fingerprint,
        "budget": budget_bytes,
        "epochs": search.epochs,
        "seed": search.seed,
        "space": space,
    }
    if embeddings:
        identity["embeddings"] = embeddings
    return StudyRecord(
        family=family.name,
        name=f"{family.name}-{short_hash(identity)}",
        description=family.description,
        input="; ".join(input_spec.describe() for input_spec in family.input_specs),
        space=space,
        dataset=dataset,
        protocol=protocol,
        budget_bytes=budget_bytes,
        epochs=search.epochs,
        seed=search.seed,
        quick=search.quick,
        trial_time_limit_seconds=search.trial_time_limit,
        published=family.published,
        provenance=provenance,
        embeddings=embeddings,
    )
