"""One image with OpenCV as img2dataset does it: decode, centre crop of the shortest side to 256, area resize, JPEG q95."""

import cv2
import numpy as np

SIDE = 256
cv2.setNumThreads(1)


def pixels(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("not an image")
    height, width = image.shape[:2]
    scale = SIDE / min(width, height)
    size = (max(SIDE, round(width * scale)), max(SIDE, round(height * scale)))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    return image[top : top + SIDE, left : left + SIDE]


def convert(data: bytes) -> bytes:
    return cv2.imencode(".jpg", pixels(data), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
