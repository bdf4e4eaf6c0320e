from kinema.world.describe import describe_with_facts
from kinema.world.scene import sample_scene


def test_mentions_stand_where_the_text_names_the_object():
    for seed in range(100):
        scene = sample_scene(seed)
        caption = describe_with_facts(scene, seed, "long")
        assert caption.mentions[0].start < len(caption.text)
        assert {index for mention in caption.mentions for index in mention.objects} <= set(range(len(scene.objects)))
        for mention in caption.mentions:
            phrase = caption.text[mention.start : mention.end]
            assert phrase == phrase.strip()
