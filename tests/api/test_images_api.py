"""Images end to end: points, queries, imports, embeddings; a joint pair and the descriptor."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.backends.local import LocalBackend
from tests.encoders.joint import write_joint
from tests.encoders.pictures import plain, saved, scene

from .harness import MODELS, InProcess, running, settings

C = "/v1/collections/c"


@pytest.fixture(scope="module")
def started_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    folder = tmp_path_factory.mktemp("images")
    for name in ("tiny", "image-descriptor"):
        shutil.copytree(MODELS / name, folder / "models" / name)
    write_joint(folder / "models")
    chosen = settings(
        folder,
        models_dir=folder / "models",
        encoders="tiny,image-descriptor,joint-text,joint-image",
    )
    with running(chosen, LocalBackend(chosen.data_dir, sync=False)) as app:
        app.wait_for_encoders()
        yield app


@pytest.fixture
def api(started_images: InProcess) -> Iterator[InProcess]:
    yield started_images
    started_images.drop_all()


def text_of(file: bytes) -> str:
    return base64.b64encode(file).decode()


def seen(colour: str) -> str:
    return text_of(plain(colour))


DAMAGED = text_of(plain("red")[:60])


def found(api: InProcess, **query: Any) -> list[Any]:
    answer = api.post(f"{C}/query", query)
    assert answer.status_code == 200, answer.text
    return [point["id"] for point in answer.json()["points"]]


def fault(answer: Any) -> tuple[int, str, str | None]:
    body = answer.json()
    return answer.status_code, body["type"].rpartition(":")[2], body.get("pointer")


@pytest.fixture
def colours(api: InProcess) -> InProcess:
    """A collection of pictures, by the image tower of the joint pair."""
    assert api.put(C, {"encoder": "joint-image"}).status_code == 201
    points = [{"id": colour, "image": seen(colour)} for colour in ("red", "green", "blue")]
    assert api.put(f"{C}/points", {"points": points}).json() == {"upserted": 3}
    return api


def test_a_collection_of_images_is_searched_by_image_and_by_text(colours: InProcess) -> None:
    assert found(colours, image=seen("crimson"), k=1) == ["red"]
    assert found(colours, image=f"data:image/png;base64,{seen('navy')}", k=1) == ["blue"]
    assert found(colours, text="a photo of green", k=1) == ["green"]
    assert found(colours, text="blue", encoder="joint-text", k=1) == ["blue"]


def test_a_collection_of_texts_is_searched_by_image(api: InProcess) -> None:
    assert api.put(C, {"encoder": "joint-text"}).status_code == 201
    points = [{"id": word, "text": f"a photo of {word}"} for word in ("red", "green", "blue")]
    api.put(f"{C}/points", {"points": points})
    assert found(api, image=seen("red"), k=1) == ["red"]
    # A point with nothing but an image is read by the other tower too.
    api.put(f"{C}/points", {"points": [{"id": "seen", "image": seen("yellow")}]})
    assert found(api, text="yellow", k=1) == ["seen"]


def test_each_vector_is_made_of_what_its_encoder_reads(api: InProcess) -> None:
    vectors = {"words": {"encoder": "tiny"}, "photo": {"encoder": "joint-image"}}
    api.put(C, {"vectors": vectors})
    api.put(
        f"{C}/points",
        {
            "points": [
                {"id": 1, "text": "a tea", "image": seen("red")},
                {"id": 2, "text": "a sea"},
                {"id": 3, "image": seen("blue")},
            ]
        },
    )
    got = api.post(f"{C}/points/get", {"ids": [1, 2, 3], "with_vectors": True}).json()["points"]
    assert [sorted(point["vectors"]) for point in got] == [["photo", "words"], ["words"], ["photo"]]
    assert "image" not in got[0]
    assert found(api, text="red", using="photo", k=1) == [1]


def test_an_encoder_is_named_where_several_read_it(colours: InProcess) -> None:
    wrong = colours.post(f"{C}/query", {"text": "red", "encoder": "tiny"})
    assert fault(wrong) == (422, "invalid-query", "/encoder")
    unknown = colours.post(f"{C}/query", {"text": "red", "encoder": "nobody"})
    assert fault(unknown) == (404, "encoder-not-found", "/encoder")
    for_nothing = colours.post(f"{C}/query", {"id": "red", "encoder": "joint-text"})
    assert fault(for_nothing) == (422, "invalid-query", "/encoder")


def test_the_descriptor_finds_the_same_picture_again(api: InProcess) -> None:
    api.put(C, {"encoder": "image-descriptor"})
    scenes = {seed: scene(seed) for seed in range(8)}
    points = [{"id": seed, "image": text_of(saved(one))} for seed, one in scenes.items()]
    api.put(f"{C}/points", {"points": points})
    for seed, one in scenes.items():
        again = saved(one.resize((60, 45)), "JPEG", quality=40)
        assert found(api, image=text_of(again), k=1) == [seed]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("AAAA", "formats"),
        ("no base64!", "base64"),
        ("", "formats"),
        ("https://example.com/a.png", "LIKEWISE_IMAGE_URLS"),
        ("file:///etc/passwd", "base64"),
        (7, "expected an image"),
        (DAMAGED, "damaged"),
    ],
)
def test_what_is_no_image_is_refused_at_its_place(
    colours: InProcess, image: object, said: str
) -> None:
    for answer, pointer in (
        (colours.post(f"{C}/query", {"image": image}), "/image"),
        (
            colours.put(
                f"{C}/points",
                {"points": [{"id": 1, "image": seen("red")}, {"id": 2, "image": image}]},
            ),
            "/points/1/image",
        ),
        (
            colours.post(
                "/v1/embeddings",
                {"input": ["a", {"image": seen("red")}, {"image": image}], "model": "joint-image"},
            ),
            "/input/2" if image == DAMAGED else "/input/2/image",
        ),
    ):
        assert fault(answer) == (422, "invalid-image", pointer)
        assert said in answer.json()["detail"]
    assert colours.count("c") == 3


def test_an_image_that_nothing_is_made_of_is_refused(api: InProcess) -> None:
    api.put(C, {"dimension": 2})
    given = {"points": [{"id": 1, "vector": [1, 2], "image": seen("red")}]}
    assert fault(api.put(f"{C}/points", given)) == (422, "invalid-image", "/points/0/image")
    assert fault(api.post(f"{C}/query", {"image": seen("red")})) == (
        422,
        "invalid-image",
        "/image",
    )


def test_an_encoder_without_another_one_in_its_space_reads_its_own_kind_only(
    api: InProcess,
) -> None:
    api.put(C, {"encoder": "tiny"})
    assert fault(api.post(f"{C}/query", {"image": seen("red")})) == (
        422,
        "invalid-image",
        "/image",
    )


def test_lines_with_damaged_images_are_left_out_or_end_an_import(api: InProcess) -> None:
    api.put(C, {"encoder": "joint-image"})
    images = [seen("red"), DAMAGED, "no base64!", seen("blue"), DAMAGED, seen("green")]
    body = b"".join(
        json.dumps({"id": number, "image": image}).encode() + b"\n"
        for number, image in enumerate(images)
    )

    def imported(query: str) -> Any:
        headers = {"content-type": "application/x-ndjson"}
        return api.send("POST", f"{C}/points:import{query}", content=body, headers=headers)

    done = imported("?on_error=skip").json()
    assert (done["upserted"], done["failed"], done["next_line"]) == (3, 3, 7)
    assert [(one["line"], one["code"], one["pointer"]) for one in done["errors"]] == [
        (line, "invalid-image", "/image") for line in (2, 3, 5)
    ]
    api.drop_all()
    api.put(C, {"encoder": "joint-image"})
    ended = imported("")
    assert fault(ended)[1:] == ("invalid-image", "/image")
    assert (ended.json()["context"]["line"], ended.json()["context"]["upserted"]) == (2, 1)
    assert api.count("c") == 1


def test_embeddings_of_a_mixed_list_come_in_its_order(api: InProcess) -> None:
    mixed = [{"image": seen("red")}, {"text": "red"}, "blue", {"image": seen("blue")}]

    def embedded(inputs: Any, model: str) -> list[Any]:
        answer = api.post("/v1/embeddings", {"input": inputs, "model": model})
        assert answer.status_code == 200, answer.text
        return [one["embedding"] for one in answer.json()["data"]]

    together = embedded(mixed, "joint-image")
    assert together == embedded(mixed, "joint-text")
    assert together == [embedded([one], "joint-image")[0] for one in mixed]


def test_patches_and_vector_of_an_image_come_at_once(api: InProcess) -> None:
    def asked(output: str) -> Any:
        wanted = {"model": "joint-image", "input": {"image": seen("red")}, "output": output}
        answer = api.post("/v1/embeddings", wanted)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"][0]["embedding"]

    assert asked("all") == {"dense": asked("dense"), "tokens": asked("tokens")}
    assert len(asked("tokens")) == 4


def test_a_form_is_read_as_the_same_json_would_be(api: InProcess) -> None:
    files: list[Any] = [
        ("image", ("a.png", io.BytesIO(plain("red")), "image/png")),
        ("text", (None, "blue")),
        ("image", ("b.png", io.BytesIO(plain("blue")), "image/png")),
    ]
    by_form = api.send("POST", "/v1/embeddings", data={"model": "joint-image"}, files=files)
    inputs = [{"image": seen("red")}, {"text": "blue"}, {"image": seen("blue")}]
    by_json = api.post("/v1/embeddings", {"model": "joint-image", "input": inputs})
    assert by_form.status_code == 200
    assert by_form.json() == by_json.json()


FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("multipart/form-data", b"", (400, "malformed-body", None)),
        (FORM, b"nothing of it", (400, "malformed-body", None)),
        (FORM, PART % (b"text", b"a"), (400, "malformed-body", None)),  # cut off
        (FORM, b"--b--\r\n", (422, "invalid-field", "/input")),
        (FORM, PART % (b"text", b"\xff") + b"--b--\r\n", (422, "invalid-field", "/input/0/text")),
        (FORM, PART % (b"input", b"a") + b"--b--\r\n", (422, "invalid-field", "/input")),
        (
            FORM,
            PART % (b"text", b"a") + PART % (b"dimensions", b"-1") + b"--b--\r\n",
            (422, "invalid-field", "/dimensions"),
        ),
        (
            FORM,
            PART % (b"text", b"a") + PART % (b"output", b"all") + b"--b--\r\n",
            (422, "invalid-field", "/output"),
        ),
        (FORM, PART % (b"image", b"a") + b"--b--\r\n", (422, "invalid-image", "/input/0/image")),
    ],
)
def test_bad_forms_are_refused(
    api: InProcess, kind: str, body: bytes, expected: tuple[int, str, str | None]
) -> None:
    answer = api.send("POST", "/v1/embeddings", content=body, headers={"content-type": kind})
    assert fault(answer) == expected, answer.text


def test_models_tell_what_they_read_and_in_which_space(api: InProcess) -> None:
    models = {model["id"]: model for model in api.get("/v1/models").json()["data"]}
    shown = {name: (model["modality"], model["space"]) for name, model in models.items()}
    assert shown["joint-text"] == ("text", "joint@1")
    assert shown["joint-image"] == ("image", "joint@1")
    assert shown["image-descriptor"] == ("image", "image-descriptor@2")


def test_urls_are_fetched_from_public_addresses_only_where_that_is_enabled(tmp_path: Path) -> None:
    chosen = settings(tmp_path, encoders="image-descriptor", image_urls=True)
    with running(chosen, LocalBackend(chosen.data_dir, sync=False)) as app:
        app.wait_for_encoders()
        app.put(C, {"encoder": "image-descriptor"})
        url = "http://127.0.0.1/a.png"
        points = {"points": [{"id": 1, "image": seen("red")}, {"id": 2, "image": url}]}
        for answer, pointer in (
            (app.post(f"{C}/query", {"image": url}), "/image"),
            (app.put(f"{C}/points", points), "/points/1/image"),
        ):
            assert fault(answer) == (422, "invalid-image", pointer)
            assert "not a public one" in answer.json()["detail"]


def test_several_readers_of_one_space_are_named_not_guessed_among(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_joint(models)
    shutil.copytree(models / "joint-text", models / "joint-text-2")
    manifest = models / "joint-text-2" / "encoder.toml"
    manifest.write_text(manifest.read_text().replace('"joint-text"', '"joint-text-2"'))
    chosen = settings(tmp_path, models_dir=models, encoders="joint-image,joint-text,joint-text-2")
    with running(chosen, LocalBackend(chosen.data_dir, sync=False)) as app:
        app.wait_for_encoders()
        app.put(C, {"encoder": "joint-image"})
        app.put(f"{C}/points", {"points": [{"id": 1, "image": seen("red")}]})
        unsure = app.post(f"{C}/query", {"text": "red"})
        assert fault(unsure) == (422, "invalid-query", "/text")
        assert "joint-text, joint-text-2" in unsure.json()["detail"]
        assert found(app, text="red", encoder="joint-text-2") == [1]
        point = {"id": 2, "text": "blue"}
        unsure = app.put(f"{C}/points", {"points": [point]})
        assert fault(unsure) == (422, "invalid-query", "/points/0/text")
        sure = {"points": [{**point, "encoder": "joint-text-2"}]}
        assert app.put(f"{C}/points", sure).json() == {"upserted": 1}
        assert found(app, image=seen("blue"), k=1) == [2]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"encoder": "nobody"}, (404, "encoder-not-found", "/points/0/encoder")),
        ({"encoder": "joint-image"}, (422, "invalid-field", "/points/0/encoder")),
        ({"encoder": "tiny"}, (422, "invalid-field", "/points/0/encoder")),
        ({"encoder": "joint-text", "vector": [1] * 8}, (422, "invalid-field", "/points/0/encoder")),
    ],
)
def test_an_encoder_that_a_point_cannot_use_is_refused(
    colours: InProcess, more: Any, expected: tuple[int, str, str]
) -> None:
    """One that is not there, has nothing to read, is of another space, or is not needed."""
    answer = colours.put(f"{C}/points", {"points": [{"id": "more", "text": "red", **more}]})
    assert fault(answer) == expected


def test_a_point_names_the_encoder_that_reads_it_for_the_vectors_of_its_space(
    api: InProcess,
) -> None:
    vectors = {"seen": {"encoder": "joint-image"}, "said": {"encoder": "joint-text"}}
    api.put(C, {"vectors": {**vectors, "other": {"encoder": "tiny"}}})
    point = {"id": 1, "text": "a photo of red", "encoder": "joint-text"}
    unused = api.put(f"{C}/points", {"points": [{**point, "image": seen("blue")}]})
    assert fault(unused) == (422, "invalid-image", "/points/0/image")
    assert api.put(f"{C}/points", {"points": [point]}).json() == {"upserted": 1}
    (stored,) = api.post(f"{C}/points/get", {"ids": [1], "with_vectors": True}).json()["points"]
    assert stored["vectors"]["seen"] == stored["vectors"]["said"]
    assert len(stored["vectors"]["other"]) == 32
