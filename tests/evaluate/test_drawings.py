"""Captions of drawings."""

import pytest
from bchisto.evaluate import evaluate
from bchisto.evaluate.report.drawings import results_drawing
from written_tables import write_lines


@pytest.mark.parametrize(("wrong", "is_corrected"), [((5, 4), True), ((5, 5), False)])
def test_the_caption_names_a_correction_only_if_there_is_one(tmp_path, wrong, is_corrected):
    """Of two equal tables the choice takes nothing away, so the picture has the figures of the table."""
    sources = []
    for name, every in zip(("alt", "neu"), wrong, strict=True):
        rows = ["image_id,label,patient,fold,p_grün,p_rot"]
        for number in range(48):
            label = number % 2
            score = 0.8 if (number % every != 0) == label else 0.2
            patient = number // 3
            rows.append(
                f"b{number},{('grün', 'rot')[label]},P{patient},{patient % 4},{1 - score},{score}"
            )
        sources.append(tmp_path / f"{name}.csv")
        write_lines(sources[-1], *rows)
    drawing = results_drawing(evaluate(sources, out=tmp_path / "e").panels)
    assert ("corrected for the choice" in drawing.caption) == is_corrected
