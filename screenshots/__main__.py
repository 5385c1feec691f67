"""`make screenshots`: the pictures of docs/console.md. Names of pictures take only those anew."""

import os
import sys
from pathlib import Path

from screenshots.stage import Stage

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "console"


def main(names: list[str]) -> None:
    with Stage() as stage:
        # Only now: what they import needs the settings that the stage has written.
        from screenshots.camera import Camera, chromium
        from screenshots.pages import PICTURES, files
        from screenshots.scene import OPERATOR, PASSWORD, Scene

        scene = Scene(stage)
        scene.build()
        chosen = [picture for picture in PICTURES if not names or picture.name in names]
        paths = {picture.name: picture.path(scene) for picture in chosen}
        folder = Path(os.environ.get("SCREENSHOTS", FOLDER))
        folder.mkdir(parents=True, exist_ok=True)
        with chromium() as browser:
            for logged_in in (True, False):
                camera = Camera(browser, stage.console, folder)
                if logged_in:
                    camera.log_in(OPERATOR, PASSWORD)
                for picture in chosen:
                    if picture.logged_in == logged_in:
                        camera.take(picture, paths[picture.name])
        scene.end()
        if not names:
            for file in set(folder.glob("*.png")) - {folder / name for name in files()}:
                file.unlink()
    size = sum(file.stat().st_size for file in folder.glob("*.png"))
    print(f"{len(list(folder.glob('*.png')))} pictures, {size / 1e6:.1f} MB, in {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
