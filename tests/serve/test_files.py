import dataclasses
import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator

import openai
import pytest
from PIL import Image
from tests.serve.doubles import PNG, Place
from tests.serve.receiver import Receiver

from kinema.errors import MediaError
from kinema.serve.decode import decode_picture
from kinema.serve.files import Files, sweep_files
from kinema.serve.keys import KeyRing, make_key
from kinema.serve.settings import Limits, ServeSettings

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _picture(form: str, width: int = 40, height: int = 20, **more: object) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height), (9, 99, 199)).save(content, form, **more)
    return content.getvalue()


def test_the_official_client_uploads_lists_reads_and_removes_files(place: Place) -> None:
    files = place.client.files
    made = files.create(file=("../../etc/cat.png", PNG, "image/png"), purpose="vision")
    assert (made.bytes, made.purpose, made.filename) == (len(PNG), "vision", "../../etc/cat.png")
    other = files.create(
        file=b"words", purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )  # fmt: skip
    assert other.expires_at == other.created_at + 3600
    assert [each.id for each in files.list()] == [other.id, made.id]
    assert [each.id for each in files.list(limit=1, order="asc")] == [made.id, other.id]
    assert [each.id for each in files.list(purpose="vision")] == [made.id]
    assert files.content(made.id).read() == PNG
    assert files.retrieve(made.id).id == made.id
    assert files.delete(made.id).deleted
    for missing in (lambda: files.retrieve(made.id), lambda: files.content(made.id)):
        with pytest.raises(openai.NotFoundError):
            missing()
    assert place.running.artefacts.names(f"files/{made.id}") == []


def test_an_uploaded_picture_can_be_the_first_of_many_videos(place: Place) -> None:
    file = place.client.files.create(file=("a.png", PNG), purpose="vision")
    place.double.on.clear()
    asked = {"prompt": "x", "input_reference": {"file_id": file.id}}
    ids = [place.http.post("/v1/videos", json=asked).json()["id"] for _ in range(2)]
    form = place.http.post("/v1/videos", data={"prompt": "x", "input_reference[file_id]": file.id}).json()["id"]
    assert len({place.jobs.get(each).spec.image for each in (*ids, form)}) == 1


def test_files_have_owners_and_take_from_their_share(open_place: Callable[..., Place]) -> None:
    (mine, my_key), (yours, your_key) = make_key("me"), make_key("you")
    my_key = dataclasses.replace(my_key, limits=Limits(stored_bytes=300))
    place = open_place(ServeSettings(), KeyRing(keys=(my_key, your_key)), token=mine)
    file = place.client.files.create(file=("a.png", PNG), purpose="vision")
    with pytest.raises(openai.RateLimitError) as refused:
        place.client.files.create(file=("a.png", PNG), purpose="vision")
    assert refused.value.code == "insufficient_quota"
    you = place.client.with_options(api_key=yours)
    with pytest.raises(openai.NotFoundError):
        you.files.retrieve(file.id)
    answer = place.http.post(
        "/v1/videos",
        json={"prompt": "x", "input_reference": {"file_id": file.id}},
        headers={"authorization": f"Bearer {yours}"},
    )
    assert answer.status_code == 404


def test_files_go_when_their_time_is_over(place: Place) -> None:
    now = [1000.0]
    running = place.running
    files = Files(running.store, running.artefacts, lambda: now[0])
    kept = {"purpose": "vision", "filename": "a", "media_type": "image/png", "limits": Limits()}
    stays = files.create("me", b"a", lasts_s=None, **kept)  # type: ignore[arg-type]
    goes = files.create("me", b"b", lasts_s=3600.0, **kept)  # type: ignore[arg-type]
    now[0] += 3601
    assert [each.id for each in files.page("me", after=None, limit=9, order="asc")[0]] == [stays.id]
    sweep_files(running.store, lambda folder: not running.artefacts.remove(folder), now[0])
    assert running.artefacts.names(f"files/{goes.id}") == []
    assert files.read(stays.id, "me") == b"a"


@pytest.mark.parametrize(
    "body", [{}, {"purpose": "vision"}, {"purpose": "theft", "file": "x"}, {"file": "text", "purpose": "vision"}]
)
def test_a_file_that_is_none_is_refused(place: Place, body: dict[str, str]) -> None:
    answer = place.http.post("/v1/files", data=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_pictures_are_decoded_into_clean_ones(form: str) -> None:
    with Image.open(io.BytesIO(decode_picture(_picture(form), "picture", 10_000))) as clean:
        assert (clean.format, clean.size, clean.mode) == ("PNG", (40, 20), "RGB")


def test_a_picture_is_turned_as_its_camera_was(tmp_path: object) -> None:
    exif = Image.Exif()
    exif[274] = 6
    clean = decode_picture(_picture("JPEG", exif=exif), "picture", 10_000)
    with Image.open(io.BytesIO(clean)) as image:
        assert (image.size, dict(image.getexif())) == ((20, 40), {})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_picture("PNG", 2000, 2000), "4000000|2000x2000 pixels"),
        (_picture("BMP"), "cannot be read"),
        (PNG[:60], "cannot be read"),
        (PNG[:8] + bytes(100), "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_pictures_that_are_too_large_or_none_are_refused_in_one_line(content: bytes, says: str) -> None:
    with pytest.raises(MediaError, match=says) as refused:
        decode_picture(content, "input_reference", 1_000_000)
    assert str(refused.value).startswith("input_reference ")
    assert "\n" not in str(refused.value)


def test_a_picture_that_would_need_too_much_memory_is_refused() -> None:
    small = _picture("PNG", 30_000, 1)
    header = b"IHDR" + struct.pack(">II", 30_000, 30_000) + small[24:29]  # 2.7 GB of pixels, by what it says
    bomb = small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
    with pytest.raises(MediaError, match="900000000 pixels"):
        decode_picture(bomb, "picture", 10**12)


def test_a_decoder_that_dies_is_an_error_of_the_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr("kinema.serve.decode.sys.executable", "/bin/false")
    with pytest.raises(MediaError, match="cannot be decoded"):
        decode_picture(PNG, "picture", 10_000)


@pytest.fixture
def there() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_a_picture_is_fetched_from_where_the_operator_allows(open_place: Callable[..., Place], there: Receiver) -> None:
    there.body, there.headers = PNG, {"content-type": "text/html"}  # what it says it is does not count
    place = open_place(ServeSettings(allowed_networks=("127.0.0.0/8",)))
    place.double.on.clear()
    asked = {"prompt": "x", "input_reference": {"image_url": f"{there.url}/a.png"}}
    assert place.jobs.get(place.http.post("/v1/videos", json=asked).json()["id"]).spec.image is not None
    there.answers = [302, 404]
    for _ in range(2):
        answer = place.http.post("/v1/videos", json=asked)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_url")
    there.body = b"<html>"
    assert place.http.post("/v1/videos", json=asked).json()["error"]["param"] == "input_reference"


def test_links_need_no_key_and_end(open_place: Callable[..., Place]) -> None:
    token, key = make_key("me")
    place = open_place(ServeSettings(public_url="https://video.example.com"), KeyRing(keys=(key,)), token=token)
    video = place.client.videos.create_and_poll(prompt="x", poll_interval_ms=20)
    made = place.http.get(f"/v1/videos/{video.id}/link?variant=thumbnail", headers={"authorization": f"Bearer {token}"})
    base, _, path = made.json()["url"].partition("/v1/")
    assert base == "https://video.example.com"
    path = f"/v1/{path}"
    assert place.http.get(path).content == b"thumbnail"
    forged = f"/v1/videos/{video.id}/content?signature=%F0%9F%98%80&expires=99999999999"
    for changed in (
        path.replace("thumbnail", "video"), path.replace("signature=", "signature=A"), path + "0",
        path.replace("expires=", "expires=9"), forged,
    ):  # fmt: skip
        refused = place.http.get(changed)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "invalid_link")
    assert place.http.get(path.partition("&signature")[0]).status_code == 401
    links = place.links
    old, _ = links.make("", video.id, "video", -1.0)
    assert place.http.get(old).json()["error"]["code"] == "invalid_link"


def test_servers_of_one_store_know_each_other_s_links(place: Place) -> None:
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(place.links.make("", "video_1", "video", 60.0)[0]))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queries = [dict(pair.split("=") for pair in link.partition("?")[2].split("&")) for link in made]
    assert all(place.links.is_good("video_1", query) for query in queries)
    assert not place.links.is_good("video_2", queries[0])
