"""The operations that a published version may hold.

The outputs of a signature are a pure function of its inputs and of the version's variables. So a
version may hold pure functions of tensors, reads of variables, and calls of functions that hold the
same. Files, state that changes, Python functions and random generators have no place there. The
saver of a SavedModel has operations of its own; `inspection` allows them in its two functions only.
"""

from collections.abc import Iterable
from typing import Any

# Pure functions of tensors.
_MATH = """
    Abs Acos Acosh Add AddN AddV2 Angle ApproximateEqual Asin Asinh Atan Atan2 Atanh BesselI0e
    BesselI1e Betainc BitwiseAnd BitwiseOr BitwiseXor Ceil ClipByValue Complex ComplexAbs Conj Cos
    Cosh Digamma Div DivNoNan Equal Erf Erfc Erfinv Exp Expm1 FFT FFT2D Floor FloorDiv FloorMod
    Greater GreaterEqual IFFT IFFT2D IRFFT IRFFT2D Igamma Igammac Imag Inv Invert IsFinite IsInf
    IsNan LeftShift Less LessEqual Lgamma Log Log1p LogicalAnd LogicalNot LogicalOr Maximum Minimum
    Mod Mul MulNoNan Ndtri Neg NotEqual Polygamma Pow RFFT RFFT2D Real RealDiv Reciprocal RightShift
    Rint Round Rsqrt Select SelectV2 Sigmoid Sign Sin Sinh Sqrt Square SquaredDifference Sub Tan
    Tanh TruncateDiv TruncateMod Xdivy Xlog1py Xlogy Zeta
"""
_REDUCTIONS = """
    All Any ArgMax ArgMin Cumprod Cumsum CumulativeLogsumexp EuclideanNorm L2Loss Max Mean Min Prod
    SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Sum TopKV2 UnsortedSegmentMax
    UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum
"""
_LINEAR_ALGEBRA = """
    BatchMatMul BatchMatMulV2 BatchMatMulV3 Cholesky Cross Einsum LogMatrixDeterminant Lu MatMul
    MatrixBandPart MatrixDeterminant MatrixDiagPartV3 MatrixDiagV3 MatrixExponential MatrixInverse
    MatrixLogarithm MatrixSetDiagV3 MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve
    Qr SelfAdjointEigV2 Svd TridiagonalMatMul TridiagonalSolve
"""
_NETWORKS = """
    AvgPool AvgPool3D BiasAdd Conv Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2
    DepthwiseConv2dNative DepthwiseConv2dNativeBackpropInput Dilation2D Elu FusedBatchNorm
    FusedBatchNormV2 FusedBatchNormV3 LRN LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 Relu
    Relu6 Selu Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign
    SparseSoftmaxCrossEntropyWithLogits
"""
_IMAGES = """
    AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize ExtractImagePatches HSVToRGB
    ImageProjectiveTransformV3 RGBToHSV ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor ScaleAndTranslate
"""
_ARRAYS = """
    BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Bucketize Cast ConcatV2 Const
    DepthToSpace Diag DiagPart DynamicPartition DynamicStitch EnsureShape ExpandDims Fill GatherNd
    GatherV2 Identity IdentityN InvertPermutation LinSpace LowerBound MirrorPad NoOp OneHot OnesLike
    Pack Pad PadV2 ParallelDynamicStitch Placeholder PreventGradient Range Rank Reshape
    ReverseSequence ReverseV2 Roll ScatterNd Shape ShapeN Size Slice SpaceToBatchND SpaceToDepth
    Split SplitV Squeeze StopGradient StridedSlice TensorScatterAdd TensorScatterMax
    TensorScatterMin TensorScatterSub TensorScatterUpdate Tile Transpose UniqueV2 Unpack
    UnravelIndex UpperBound Where ZerosLike
"""
# Lists of tensors, which loops and recurrent layers build; a list is a value, not a state.
_LISTS = """
    EmptyTensorList TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
    TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve
    TensorListResize TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
"""
PURE = frozenset(
    " ".join((_MATH, _REDUCTIONS, _LINEAR_ALGEBRA, _NETWORKS, _IMAGES, _ARRAYS, _LISTS)).split()
)
# Reads of variables, and calls of functions, whose own operations are checked as well.
_READS = frozenset(["ReadVariableOp", "VarHandleOp"])
CALLS = frozenset(["PartitionedCall", "StatefulPartitionedCall"])
_BRANCHES = frozenset(["Case", "If", "StatelessCase", "StatelessIf", "StatelessWhile", "While"])
ALLOWED = PURE | _READS | CALLS | _BRANCHES

# What a network of the user's own may hold as well. It changes nothing outside of the process:
# variables that it initializes or averages, random numbers of its training, assertions.
_LOCAL = """
    Assert AssignAddVariableOp AssignSubVariableOp AssignVariableOp RandomStandardNormal
    RandomUniform StatelessRandomGetKeyCounter StatelessRandomUniformV2 VarIsInitializedOp
"""
LOCAL = frozenset(_LOCAL.split())

_SAVING = """
    Const DisableCopyOnRead Identity MergeV2Checkpoints NoOp Pack ReadVariableOp SaveV2 Select
    ShardedFilename StaticRegexFullMatch StringJoin
"""
# The operations of the saver's two functions.
SAVING = frozenset(_SAVING.split())
RESTORING = frozenset(["AssignVariableOp", "Const", "Identity", "NoOp", "RestoreV2"])


def forbidden_operations(functions: Iterable[Any]) -> list[str]:
    """Operations of traced functions that a published version may not hold, sorted.

    Args:
        functions: `tf.ConcreteFunction`s.
    """
    names: set[str] = set()
    for function in functions:
        graph = function.graph.as_graph_def()
        for nodes in (graph.node, *(called.node_def for called in graph.library.function)):
            names |= {node.op for node in nodes}
    return sorted(names - ALLOWED)
