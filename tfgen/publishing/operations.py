"""The operations that a published version may hold.

The outputs of a signature are a pure function of its inputs and of the version's variables. So a
version may hold pure functions of tensors, reads of variables, and calls of functions that hold the
same. Files, state that changes, Python functions and random generators have no place there. The
saver of a SavedModel has operations of its own; `inspection` allows them in its two functions only.
"""

from collections.abc import Iterable
from typing import Any

# Pure functions of tensors: of numbers, with reductions and linear algebra; of networks and images;
# derivatives of these by their inputs, which guidance and estimated divergences need; of arrays,
# and of lists of tensors, which loops build, and which are values, not states.
_PURE = """
    Abs Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2
    Atanh BatchMatMul BatchMatMulV2 BatchMatMulV3 BesselI0e BesselI1e Betainc BitwiseAnd BitwiseOr
    BitwiseXor Ceil Cholesky ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum
    CumulativeLogsumexp Digamma Div DivNoNan Einsum Equal Erf Erfc Erfinv EuclideanNorm Exp Expm1
    FFT FFT2D Floor FloorDiv FloorMod Greater GreaterEqual IFFT IFFT2D IRFFT IRFFT2D Igamma Igammac
    Imag Inv Invert IsFinite IsInf IsNan L2Loss LeftShift Less LessEqual Lgamma Log Log1p
    LogMatrixDeterminant LogicalAnd LogicalNot LogicalOr Lu MatMul MatrixBandPart MatrixDeterminant
    MatrixDiagPartV3 MatrixDiagV3 MatrixExponential MatrixInverse MatrixLogarithm MatrixSetDiagV3
    MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Max Maximum Mean Min Minimum
    Mod Mul MulNoNan Ndtri Neg NotEqual Polygamma Pow Prod Qr RFFT RFFT2D Real RealDiv Reciprocal
    RightShift Rint Round Rsqrt SegmentMax SegmentMean SegmentMin SegmentProd SegmentSum Select
    SelectV2 SelfAdjointEigV2 Sigmoid Sign Sin Sinh Sqrt Square SquaredDifference Sub Sum Svd Tan
    Tanh TopKV2 TridiagonalMatMul TridiagonalSolve TruncateDiv TruncateMod UnsortedSegmentMax
    UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Xdivy Xlog1py Xlogy Zeta
    AdjustContrastv2 AdjustHue AdjustSaturation AvgPool AvgPool3D BiasAdd Conv Conv2D
    Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 CropAndResize DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropInput Dilation2D Elu ExtractImagePatches FusedBatchNorm
    FusedBatchNormV2 FusedBatchNormV3 HSVToRGB ImageProjectiveTransformV3 LRN LeakyRelu LogSoftmax
    MaxPool MaxPool3D MaxPoolV2 RGBToHSV Relu Relu6 ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor ScaleAndTranslate Selu Softmax SoftmaxCrossEntropyWithLogits Softplus
    Softsign SparseSoftmaxCrossEntropyWithLogits
    AvgPool3DGrad AvgPoolGrad BiasAddGrad BroadcastGradientArgs ConcatOffset Conv2DBackpropFilter
    Conv3DBackpropFilterV2 CropAndResizeGradBoxes CropAndResizeGradImage
    DepthwiseConv2dNativeBackpropFilter Dilation2DBackpropFilter Dilation2DBackpropInput EluGrad
    FusedBatchNormGrad FusedBatchNormGradV2 FusedBatchNormGradV3 IgammaGradA InvGrad LRNGrad
    LeakyReluGrad MaxPool3DGrad MaxPool3DGradGrad MaxPoolGrad MaxPoolGradGrad MaxPoolGradGradV2
    MaxPoolGradV2 MirrorPadGrad ReciprocalGrad Relu6Grad ReluGrad ResizeBicubicGrad
    ResizeBilinearGrad ResizeNearestNeighborGrad RsqrtGrad ScaleAndTranslateGrad SeluGrad
    SigmoidGrad SoftplusGrad SoftsignGrad SqrtGrad StridedSliceGrad TanhGrad
    BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Bucketize Cast ConcatV2 Const DepthToSpace Diag
    DiagPart DynamicPartition DynamicStitch EmptyTensorList EnsureShape ExpandDims Fill GatherNd
    GatherV2 Identity IdentityN InvertPermutation LinSpace LowerBound MirrorPad NoOp OneHot OnesLike
    Pack Pad PadV2 ParallelDynamicStitch Placeholder PreventGradient Range Rank Reshape
    ReverseSequence ReverseV2 Roll ScatterNd Shape ShapeN Size Slice SpaceToBatchND SpaceToDepth
    Split SplitV Squeeze StopGradient StridedSlice TensorListConcatV2 TensorListElementShape
    TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack
    TensorListPushBack TensorListReserve TensorListResize TensorListScatterV2 TensorListSetItem
    TensorListSplit TensorListStack TensorScatterAdd TensorScatterMax TensorScatterMin
    TensorScatterSub TensorScatterUpdate Tile Transpose UniqueV2 Unpack UnravelIndex UpperBound
    Where ZerosLike
"""
PURE = frozenset(_PURE.split())
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
