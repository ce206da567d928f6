"""tf.image: sizes, patches and blocks of images [batch, h, w, c], with TF1's signatures."""

from __future__ import annotations

from typing import Any

from graphflow.arrays import expand_dims, pad, reshape, squeeze, transpose
from graphflow.basics import name_scope
from graphflow.compiler.errors import ShapeError, UnsupportedError
from graphflow.compiler.ir import dims as D
from graphflow.compiler.ir.convert import as_tensor
from graphflow.compiler.ir.dtypes import float32
from graphflow.compiler.ir.tensor import Tensor
from graphflow.compiler.ops import images as records
from graphflow.compiler.ops import resampling, windows
from graphflow.compiler.ops.indexing import slice_
from graphflow.compiler.ops.shapes import dim_of
from graphflow.compiler.ops.symbolic import dims_attr
from graphflow.layouts import apply, channels_first, paddings, per_axis, sizes
from graphflow.math import cast, matmul
from graphflow.missing import missing_names
from graphflow.renamed import either

__all__ = ["ResizeMethod", "extract_image_patches", "extract_patches", "resize", "resize_area",
           "resize_bicubic", "resize_bilinear",
           "resize_image_with_crop_or_pad", "resize_image_with_pad", "resize_images",
           "resize_nearest_neighbor",
           "resize_with_crop_or_pad"]


# Other sizes


class ResizeMethod:
    """How `resize_images` finds the pixels of the result."""

    BILINEAR = 0
    NEAREST_NEIGHBOR = 1
    BICUBIC = 2
    AREA = 3


def resize_bilinear(images: Any, size: Any, align_corners: bool = False, name: str | None = None,
                    half_pixel_centers: bool = False) -> Tensor:
    """Images of another height and width, each pixel interpolated between the four around it, as float32.

    Shapes:  images [batch, h, w, c], size [new h, new w], which may be a tensor -> [batch, new h, new w, c]
    Units:   pixel i is at i * h / new h; with align_corners at i * (h - 1) / (new h - 1), so that the corners
             meet; with half_pixel_centers at (i + 0.5) * h / new h - 0.5
    Source:  TF 1.15 tf.image.resize_bilinear
    """
    x = cast(as_tensor(images, for_op="resize_bilinear"), float32)
    result: Tensor = records.resize(x, size=sizes("resize_bilinear", "size", size, 2), method="bilinear",
                                    align_corners=align_corners, half_pixel_centers=half_pixel_centers,
                                    name=name or "ResizeBilinear")
    return result


def resize_nearest_neighbor(images: Any, size: Any, align_corners: bool = False, name: str | None = None,
                            half_pixel_centers: bool = False) -> Tensor:
    """Images of another height and width, each pixel from the one it lies in; else as `resize_bilinear`."""
    result: Tensor = records.resize(images, size=sizes("resize_nearest_neighbor", "size", size, 2),
                                    method="nearest", align_corners=align_corners,
                                    half_pixel_centers=half_pixel_centers,
                                    name=name or "ResizeNearestNeighbor")
    return result


def resize_bicubic(images: Any, size: Any, align_corners: bool = False, name: str | None = None,
                   half_pixel_centers: bool = False) -> Tensor:
    """Images of another height and width, by cubic curves through 4 x 4 pixels; else as `resize_bilinear`.

    Source:  TF 1.15 tf.image.resize_bicubic
    """
    return _resampled("resize_bicubic", resampling.bicubic_weights, images, size, name or "ResizeBicubic",
                      align_corners=align_corners, half_pixel_centers=half_pixel_centers)


def resize_area(images: Any, size: Any, align_corners: bool = False, name: str | None = None) -> Tensor:
    """Images of another height and width, each pixel the mean of the area that it covers, as float32.

    Source:  TF 1.15 tf.image.resize_area
    """
    return _resampled("resize_area", resampling.area_weights, images, size, name or "ResizeArea",
                      align_corners=align_corners)


def _resampled(what: str, weights: Any, images: Any, size: Any, name: str, **way: Any) -> Tensor:
    """By one matrix for each axis."""
    height, width = sizes(what, "size", size, 2)
    if way["align_corners"] and way.get("half_pixel_centers"):
        raise ShapeError(f"{what}: one of align_corners and half_pixel_centers may be True")
    with name_scope(name, name, [images]):
        x = cast(as_tensor(images, for_op=what), float32)
        if x.type.rank != 4:
            raise ShapeError(f"{what}: images [batch, h, w, c] are needed, but {x.name} is {x.type}, made at "
                             f"{x.op.source[0]}:{x.op.source[1]}")
        b, h, w, c = (dim_of(x, k) for k in range(4))
        across = matmul(weights(old=w, new=width, **way), x)
        down = matmul(weights(old=h, new=height, **way), reshape(across, [b, h, width * c]))
        return reshape(down, [b, height, width, c])


def resize_images(images: Any, size: Any, method: Any = ResizeMethod.BILINEAR, align_corners: bool = False,
                  preserve_aspect_ratio: bool = False, name: str | None = None) -> Tensor:
    """Images, or one of rank 3, of another height and width; unchanged where these are known to be the same.

    All methods but the nearest neighbor give float32. With preserve_aspect_ratio the result is the largest
    that fits in size.
    """
    how = {ResizeMethod.BILINEAR: resize_bilinear, ResizeMethod.NEAREST_NEIGHBOR: resize_nearest_neighbor,
           ResizeMethod.BICUBIC: resize_bicubic, ResizeMethod.AREA: resize_area}
    if method not in how:
        raise ValueError(f"resize_images: method {method!r} is not one of ResizeMethod's")
    with name_scope(name, "resize", [images]):
        x = as_tensor(images, for_op="resize_images")
        one = x.type.rank == 3
        if x.type.rank not in (3, 4):
            raise ShapeError(f"resize_images: images of rank 3 or 4 are needed, but {x.name} is {x.type}, "
                             f"made at {x.op.source[0]}:{x.op.source[1]}")
        x = expand_dims(x, 0) if one else x
        dims = sizes("resize_images", "size", size, 2)
        dims = _fitting(x, dims) if preserve_aspect_ratio else dims
        if tuple(x.type.dims or ())[1:3] != dims:
            x = how[method](x, dims, align_corners)
        return squeeze(x, 0) if one else x


def _fitting(x: Tensor, dims: tuple[Any, ...]) -> tuple[int, ...]:
    """The largest height and width of the same proportion."""
    given = tuple(x.type.dims or ())[1:3]
    if not all(isinstance(d, int) for d in (*given, *dims)):
        raise UnsupportedError("resize_images: preserve_aspect_ratio needs known heights and widths")
    scale = min(new / old for new, old in zip(dims, given, strict=True))
    return tuple(round(scale * old) for old in given)


resize = resize_images


def resize_image_with_crop_or_pad(image: Any, target_height: Any, target_width: Any) -> Tensor:
    """An image, or images, cut or filled with zeros around the middle to a height and width."""
    x = as_tensor(image, for_op="resize_image_with_crop_or_pad")
    if x.type.rank not in (3, 4):
        raise ShapeError(f"resize_image_with_crop_or_pad: an image of rank 3 or 4 is needed, not {x.type}")
    first = x.type.rank - 3
    begin: list[Any]
    size: list[Any]
    edges: list[Any]
    begin, size, edges = [0] * x.type.rank, [-1] * x.type.rank, [[0, 0] for _ in range(x.type.rank)]
    for k, target in ((first, dims_attr(target_height)), (first + 1, dims_attr(target_width))):
        d: Any = dim_of(x, k)
        more: Any = D.maximum(target - d, 0)
        begin[k], size[k] = D.maximum(d - target, 0) // 2, D.minimum(d, target)
        edges[k] = [more // 2, more - more // 2]
    with name_scope(None, "resize_image_with_crop_or_pad", [x]):
        result = pad(slice_(x, begin=begin, size=size), edges)
        shape: list[Any] = [None] * x.type.rank
        for k, target in ((first, target_height), (first + 1, target_width)):
            shape[k] = target if isinstance(target, int) else None
        result.set_shape(shape)
        return result


resize_with_crop_or_pad = resize_image_with_crop_or_pad


def resize_image_with_pad(image: Any, target_height: int, target_width: int,
                          method: Any = ResizeMethod.BILINEAR) -> Tensor:
    """`resize_images` in its own proportion, then zeros around it to a height and width."""
    with name_scope(None, "resize_image_with_pad", [image]):
        inner = resize_images(image, [target_height, target_width], method, preserve_aspect_ratio=True)
        return resize_image_with_crop_or_pad(inner, target_height, target_width)


# Patches and blocks


def extract_image_patches(images: Any, ksizes: Any = None, strides: Any = None, rates: Any = None,
                          padding: Any = None, name: str | None = None, sizes: Any = None) -> Tensor:
    """The pixels of each window side by side: [batch, h, w, c] -> [batch, oh, ow, kh * kw * c].

    Units:   sizes, strides and rates (dilations) as for conv2d
    """
    function = "extract_image_patches"
    size = per_axis(function, "sizes", either(function, "sizes", sizes, ksizes=ksizes), 2)
    with name_scope(name, "ExtractImagePatches", [images]) as scope:
        found = windows.windows(images, size=size, strides=per_axis(function, "strides", strides, 2),
                                dilations=per_axis(function, "rates", rates, 2),
                                padding=paddings(function, padding, 2))
        channels: Any = dim_of(found, 5)
        shape = (*(dim_of(found, k) for k in range(3)), size[0] * size[1] * channels)
        return reshape(found, shape, name=scope)


extract_patches = extract_image_patches


def space_to_depth(input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """Blocks of n x n pixels as the channels of one: [b, h*n, w*n, c] -> [b, h, w, n*n*c]."""
    return _blocks(records.space_to_depth, input, block_size, name or "SpaceToDepth", data_format)


def depth_to_space(input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC") -> Tensor:
    """The channels of one pixel as blocks of n x n: [b, h, w, n*n*c] -> [b, h*n, w*n, c]."""
    return _blocks(records.depth_to_space, input, block_size, name or "DepthToSpace", data_format)


def _blocks(record: Any, x: Any, block_size: int, name: str, data_format: str) -> Tensor:
    x = as_tensor(x, for_op=name)
    return apply(lambda x, name: record(x, block_size=block_size, name=name), x,
                 channels_first(name, data_format, 2), name)


def space_to_batch_nd(input: Any, block_shape: Any, paddings: Any, name: str | None = None) -> Tensor:
    """Padded, then each position within blocks as a batch of its own: [b * prod(block), h/n.., rest]."""
    blocks, pairs = dims_attr(block_shape), dims_attr(paddings)
    with name_scope(name, "SpaceToBatchND", [input]) as scope:
        x = as_tensor(input)
        rank = _checked_blocks("space_to_batch_nd", x, blocks, pairs)
        count = len(blocks)
        x = pad(x, [(0, 0), *pairs, *[(0, 0)] * (rank - count - 1)])
        dims: list[Any] = [dim_of(x, k) for k in range(rank)]
        inner = [p for d, n in zip(dims[1:], blocks, strict=False) for p in (d // n, n)]
        parts = reshape(x, [dims[0], *inner, *dims[count + 1:]])
        order = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2), *range(2 * count + 1, rank + count)]
        return reshape(transpose(parts, order),
                       [dims[0] * D.product(blocks), *inner[::2], *dims[count + 1:]], name=scope)


def batch_to_space_nd(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Tensor:
    """The way back of `space_to_batch_nd`, with `crops` cut off."""
    blocks, pairs = dims_attr(block_shape), dims_attr(crops)
    with name_scope(name, "BatchToSpaceND", [input]):
        x = as_tensor(input)
        rank = _checked_blocks("batch_to_space_nd", x, blocks, pairs)
        count = len(blocks)
        dims: list[Any] = [dim_of(x, k) for k in range(rank)]
        batch = dims[0] // D.product(blocks)
        parts = reshape(x, [*blocks, batch, *dims[1:]])
        order = [count, *(p for k in range(count) for p in (count + 1 + k, k)), *range(2 * count + 1,
                                                                                       rank + count)]
        grown = [d * n for d, n in zip(dims[1:], blocks, strict=False)]
        whole = reshape(transpose(parts, order), [batch, *grown, *dims[count + 1:]])
        kept = [d - before - after for d, (before, after) in zip(grown, pairs, strict=True)]
        result: Tensor = slice_(whole, begin=[0, *(p[0] for p in pairs), *[0] * (rank - count - 1)],
                                size=[-1, *kept, *[-1] * (rank - count - 1)])
        return result


def _checked_blocks(function: str, x: Tensor, blocks: Any, pairs: Any) -> int:
    """The rank, once the numbers per axis fit it."""
    rank = x.type.rank
    if rank is None or not isinstance(blocks, tuple) or not isinstance(pairs, tuple) or not (
            len(blocks) == len(pairs) < rank) or any(len(p) != 2 for p in pairs):
        raise ShapeError(f"{function}: a block of {blocks} with {pairs} needs a tensor of known rank with an "
                         f"axis for each after the batch, but {x.name} is {x.type}")
    return rank


def space_to_batch(input: Any, paddings: Any, block_size: Any = None, name: str | None = None,
                   block_shape: Any = None) -> Tensor:
    """`space_to_batch_nd` of images in blocks of block_size x block_size."""
    block = [block_size, block_size] if block_shape is None else block_shape
    return space_to_batch_nd(input, block, paddings, name or "SpaceToBatch")


def batch_to_space(input: Any, crops: Any, block_size: Any, name: str | None = None,
                   block_shape: Any = None) -> Tensor:
    """`batch_to_space_nd` of images in blocks of block_size x block_size."""
    block = [block_size, block_size] if block_shape is None else block_shape
    return batch_to_space_nd(input, block, crops, name or "BatchToSpace")

__getattr__ = missing_names("graphflow.image")
