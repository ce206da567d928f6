"""Minimax polynomials, lowest power first, and split constants, leading part first.

Printed by tests/exhaustive/fit_polynomials.py, not edited by hand.
"""

from __future__ import annotations

# log 2
LN2_32 = (
    float.fromhex("0x1.62e4300000000p-1"), float.fromhex("-0x1.05c6100000000p-29"),
)

# log 2; an exponent times the first is exact
LN2_SHORT_32 = (
    float.fromhex("0x1.62e4000000000p-1"), float.fromhex("0x1.7f7d1c0000000p-20"),
)

# 1 / log 2
LOG2_E_32 = (
    float.fromhex("0x1.7154760000000p+0"), float.fromhex("0x1.4ae0c00000000p-26"),
)

# 2 / log 2
LOG2_E2_32 = (
    float.fromhex("0x1.7154760000000p+1"), float.fromhex("0x1.4ae0c00000000p-25"),
)

# 1/3
THIRD_32 = (
    float.fromhex("0x1.5555560000000p-2"), float.fromhex("-0x1.5555560000000p-27"),
)

# pi/2
HALF_PI_32 = (
    float.fromhex("0x1.921fb60000000p+0"), float.fromhex("-0x1.777a5c0000000p-25"),
    float.fromhex("-0x1.ee59da0000000p-50"),
)

# pi
PI_32 = (
    float.fromhex("0x1.921fb60000000p+1"), float.fromhex("-0x1.777a5c0000000p-24"),
)

# log 2
LN2_64 = (
    float.fromhex("0x1.62e42fefa39efp-1"), float.fromhex("0x1.abc9e3b39803fp-56"),
)

# log 2; an exponent times the first is exact
LN2_SHORT_64 = (
    float.fromhex("0x1.62e42fefa3000p-1"), float.fromhex("0x1.3de6af278ece6p-42"),
)

# 1 / log 2
LOG2_E_64 = (
    float.fromhex("0x1.71547652b82fep+0"), float.fromhex("0x1.777d0ffda0d24p-56"),
)

# 2 / log 2
LOG2_E2_64 = (
    float.fromhex("0x1.71547652b82fep+1"), float.fromhex("0x1.777d0ffda0d24p-55"),
)

# 1/3
THIRD_64 = (
    float.fromhex("0x1.5555555555555p-2"), float.fromhex("0x1.5555555555555p-56"),
)

# pi/2
HALF_PI_64 = (
    float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54"),
    float.fromhex("-0x1.f1976b7ed8fbcp-110"),
)

# pi
PI_64 = (
    float.fromhex("0x1.921fb54442d18p+1"), float.fromhex("0x1.1a62633145c07p-53"),
)

# 1/(2 pi) without the bits above 2^-0
TURN0 = (
    float.fromhex("0x1.45f306dc9c882p-3"), float.fromhex("0x1.4a7f09d5f47d5p-56"),
)

# 1/(2 pi) without the bits above 2^-28
TURN1 = (
    float.fromhex("0x1.727220a94fe14p-29"), float.fromhex("-0x1.505c1596447e5p-83"),
)

# 1/(2 pi) without the bits above 2^-56
TURN2 = (
    float.fromhex("0x1.29fc2757d1f53p-58"), float.fromhex("0x1.377036d8a5665p-112"),
)

# 1/(2 pi) without the bits above 2^-84
TURN3 = (
    float.fromhex("0x1.7d1f534ddc0dbp-86"), float.fromhex("0x1.8a5664f10e410p-140"),
)

# (exp(r) - 1 - r) / r^2 on [-0.35004, 0.35004]; error 2^-30.3
EXP_32 = (
    float.fromhex("0x1.0000000000000p-1"), float.fromhex("0x1.5555540000000p-3"),
    float.fromhex("0x1.5554f60000000p-5"), float.fromhex("0x1.1112b00000000p-7"),
    float.fromhex("0x1.6d443a0000000p-10"), float.fromhex("0x1.9ee41e0000000p-13"),
)

# (log1p(f) - f + f^2/2) / f^3 on [-0.33333, 0.33333]; error 2^-28.7
LOG_32 = (
    float.fromhex("0x1.5555560000000p-2"), float.fromhex("-0x1.ffff0e0000000p-3"),
    float.fromhex("0x1.99977e0000000p-3"), float.fromhex("-0x1.5599040000000p-3"),
    float.fromhex("0x1.24f4980000000p-3"), float.fromhex("-0x1.f38a3c0000000p-4"),
    float.fromhex("0x1.b87d860000000p-4"), float.fromhex("-0x1.0710a20000000p-3"),
    float.fromhex("0x1.ebd2ba0000000p-4"),
)

# erf(u + 2.5) - 1 on [-1.5, 1.5]; error 2^-28.2
ERF_FAR_32 = (
    float.fromhex("-0x1.aab86e0000000p-12"), float.fromhex("0x1.1d82e40000000p-9"),
    float.fromhex("-0x1.64e3880000000p-8"), float.fromhex("0x1.119eb00000000p-7"),
    float.fromhex("-0x1.1a8b7e0000000p-7"), float.fromhex("0x1.90daec0000000p-8"),
    float.fromhex("-0x1.6eb0280000000p-9"), float.fromhex("0x1.1d86080000000p-11"),
    float.fromhex("0x1.0f60240000000p-12"), float.fromhex("-0x1.09d0100000000p-12"),
    float.fromhex("0x1.53f15e0000000p-14"), float.fromhex("0x1.05eab80000000p-17"),
    float.fromhex("-0x1.076cd60000000p-16"), float.fromhex("0x1.ce8fb80000000p-19"),
    float.fromhex("0x1.dc97080000000p-21"), float.fromhex("-0x1.76eb360000000p-22"),
)

# (atanh(s)/s - 1 - z/3) / z^2, z = s^2 on [0, 0.029437]; error 2^-43.7
POW_32 = (
    float.fromhex("0x1.9999980000000p-3"), float.fromhex("0x1.2493b60000000p-3"),
    float.fromhex("0x1.c63da80000000p-4"), float.fromhex("0x1.9083ce0000000p-4"),
)

# (sin(r)/r - 1) / z, z = r^2 on [0, 0.62925]; error 2^-32.5
SIN_32 = (
    float.fromhex("-0x1.5555560000000p-3"), float.fromhex("0x1.1111740000000p-7"),
    float.fromhex("-0x1.a058e40000000p-13"), float.fromhex("0x1.7bf1480000000p-19"),
)

# (cos(r) - 1 + z/2) / z^2, z = r^2 on [0, 0.62925]; error 2^-33.1
COS_32 = (
    float.fromhex("0x1.55554a0000000p-5"), float.fromhex("-0x1.6c0c1a0000000p-10"),
    float.fromhex("0x1.99e0ce0000000p-16"),
)

# (asin(x)/x - 1) / z, z = x^2 on [0, 0.25]; error 2^-31.7
ASIN_32 = (
    float.fromhex("0x1.55554c0000000p-3"), float.fromhex("0x1.3338aa0000000p-4"),
    float.fromhex("0x1.6ca7dc0000000p-5"), float.fromhex("0x1.04cd0c0000000p-5"),
    float.fromhex("0x1.d589e80000000p-7"), float.fromhex("0x1.349e540000000p-5"),
)

# (atan(x)/x - 1) / z, z = x^2 on [0, 1]; error 2^-28.6
ATAN_32 = (
    float.fromhex("-0x1.5555400000000p-2"), float.fromhex("0x1.9992660000000p-3"),
    float.fromhex("-0x1.2426280000000p-3"), float.fromhex("0x1.c0c8b20000000p-4"),
    float.fromhex("-0x1.58bc1c0000000p-4"), float.fromhex("0x1.dc941a0000000p-5"),
    float.fromhex("-0x1.0129b00000000p-5"), float.fromhex("0x1.6957fc0000000p-7"),
    float.fromhex("-0x1.dca7300000000p-10"),
)

# (sinh(x)/x - 1) / z, z = x^2 on [0, 1]; error 2^-31.5
SINH_32 = (
    float.fromhex("0x1.5555560000000p-3"), float.fromhex("0x1.1110e20000000p-7"),
    float.fromhex("0x1.a021560000000p-13"), float.fromhex("0x1.75a6d00000000p-19"),
)

# erf(x)/x - 1, z = x^2 on [0, 1]; error 2^-29.5
ERF_32 = (
    float.fromhex("0x1.06eba80000000p-3"), float.fromhex("-0x1.8127400000000p-2"),
    float.fromhex("0x1.ce2d500000000p-4"), float.fromhex("-0x1.b7fe900000000p-6"),
    float.fromhex("0x1.542e100000000p-8"), float.fromhex("-0x1.a50b100000000p-11"),
    float.fromhex("0x1.4c345e0000000p-14"),
)

# exp(x^2) erfc(x) (x + 2) - 1 + t/2, t = (x - 2)/(x + 2) on [-1, 0.68]; error 2^-26.9
ERFC_32 = (
    float.fromhex("0x1.619c720000000p-6"), float.fromhex("-0x1.7f4e1c0000000p-3"),
    float.fromhex("0x1.1e2dd80000000p-2"), float.fromhex("-0x1.2a88240000000p-5"),
    float.fromhex("-0x1.6058a20000000p-6"), float.fromhex("0x1.a873e60000000p-8"),
    float.fromhex("0x1.9157ba0000000p-9"), float.fromhex("-0x1.b588e40000000p-11"),
    float.fromhex("-0x1.36bed60000000p-11"), float.fromhex("0x1.a077340000000p-15"),
    float.fromhex("0x1.2986e80000000p-14"),
)

# erfinv(x)/x - 0.875 - w/4, w = -log(1 - x^2), u = w - 2.5 on [-2.5, 2.5]; error 2^-28.4
ERFINV_NEAR_32 = (
    float.fromhex("0x1.71741e0000000p-10"), float.fromhex("-0x1.b85d3e0000000p-9"),
    float.fromhex("-0x1.11c4200000000p-8"), float.fromhex("-0x1.4866440000000p-10"),
    float.fromhex("0x1.c9c5a20000000p-13"), float.fromhex("-0x1.4cfd260000000p-18"),
    float.fromhex("-0x1.ccfd3a0000000p-19"), float.fromhex("0x1.f43f740000000p-22"),
    float.fromhex("0x1.35efee0000000p-26"), float.fromhex("-0x1.2d6da60000000p-27"),
    float.fromhex("0x1.70bd840000000p-32"),
)

# erfinv(x)/x - sqrt(w), w = -log(1 - x^2), u = sqrt(w) - 3 on [-0.76393, 1.2]; error 2^-28.8
ERFINV_FAR_32 = (
    float.fromhex("-0x1.5610420000000p-3"), float.fromhex("0x1.b7276e0000000p-10"),
    float.fromhex("0x1.3580960000000p-7"), float.fromhex("-0x1.f4e1ea0000000p-8"),
    float.fromhex("0x1.74c6b40000000p-8"), float.fromhex("-0x1.d375ce0000000p-9"),
    float.fromhex("0x1.82508a0000000p-10"), float.fromhex("-0x1.fdb8f20000000p-14"),
    float.fromhex("-0x1.20b0ae0000000p-12"), float.fromhex("0x1.52f2080000000p-13"),
    float.fromhex("-0x1.02145e0000000p-15"),
)

# (exp(r) - 1 - r) / r^2 on [-0.35004, 0.35004]; error 2^-59.4
EXP_64 = (
    float.fromhex("0x1.0000000000000p-1"), float.fromhex("0x1.5555555555559p-3"),
    float.fromhex("0x1.555555555553cp-5"), float.fromhex("0x1.111111110f4c5p-7"),
    float.fromhex("0x1.6c16c16c1fb0ep-10"), float.fromhex("0x1.a01a01b0c31a4p-13"),
    float.fromhex("0x1.a01a0179b5146p-16"), float.fromhex("0x1.71ddf5e60d789p-19"),
    float.fromhex("0x1.27e53821fba28p-22"), float.fromhex("0x1.af635ca45cbe6p-26"),
    float.fromhex("0x1.1ee9246d132d6p-29"),
)

# (2 atanh(s)/s - 2) / z, z = s^2 on [0, 0.029437]; error 2^-59.5
LOG_64 = (
    float.fromhex("0x1.5555555555592p-1"), float.fromhex("0x1.999999997ff18p-2"),
    float.fromhex("0x1.24924941e17cap-2"), float.fromhex("0x1.c71c5214170e7p-3"),
    float.fromhex("0x1.74663cff17c02p-3"), float.fromhex("0x1.39a1e66c304ccp-3"),
    float.fromhex("0x1.2f03d7b2a884cp-3"),
)

# (atanh(s)/s - 1 - z/3) / z^2, z = s^2 on [0, 0.029437]; error 2^-73.5
POW_64 = (
    float.fromhex("0x1.9999999999996p-3"), float.fromhex("0x1.2492492492f51p-3"),
    float.fromhex("0x1.c71c71c5968f1p-4"), float.fromhex("0x1.745d182956f6bp-4"),
    float.fromhex("0x1.3b1364c922e40p-4"), float.fromhex("0x1.11206f3442e50p-4"),
    float.fromhex("0x1.de3d6f9f84981p-5"), float.fromhex("0x1.eac5c57f09e1ep-5"),
)

# (sin(r)/r - 1) / z, z = r^2 on [0, 0.62925]; error 2^-63.2
SIN_64 = (
    float.fromhex("-0x1.5555555555555p-3"), float.fromhex("0x1.111111111106ap-7"),
    float.fromhex("-0x1.a01a019ffeb51p-13"), float.fromhex("0x1.71de3a346cf4fp-19"),
    float.fromhex("-0x1.ae642daffb902p-26"), float.fromhex("0x1.610ad37090579p-33"),
    float.fromhex("-0x1.a0a0c8e065ca4p-41"),
)

# (cos(r) - 1 + z/2) / z^2, z = r^2 on [0, 0.62925]; error 2^-63.9
COS_64 = (
    float.fromhex("0x1.555555555554ap-5"), float.fromhex("-0x1.6c16c16c14dc4p-10"),
    float.fromhex("0x1.a01a019c515acp-16"), float.fromhex("-0x1.27e4f7c235cf0p-22"),
    float.fromhex("0x1.1ee9b9e2d29d0p-29"), float.fromhex("-0x1.8f941f928b7abp-37"),
)

# (asin(x)/x - 1) / z, z = x^2 on [0, 0.25]; error 2^-59.8
ASIN_64 = (
    float.fromhex("0x1.5555555555578p-3"), float.fromhex("0x1.333333332df22p-4"),
    float.fromhex("0x1.6db6db722a7e1p-5"), float.fromhex("0x1.f1c71a8c0a0f4p-6"),
    float.fromhex("0x1.6e8bdfd89abd5p-6"), float.fromhex("0x1.1c49df19739dfp-6"),
    float.fromhex("0x1.ca2127cc997f6p-7"), float.fromhex("0x1.757886a192e8ep-7"),
    float.fromhex("0x1.6184f205417f8p-7"), float.fromhex("0x1.e1b7103fa4af1p-9"),
    float.fromhex("0x1.64e4d7468b4a0p-6"), float.fromhex("-0x1.59cb9966c74f8p-6"),
    float.fromhex("0x1.0bd67f8acc1a5p-5"),
)

# (atan(x)/x - 1) / z, z = x^2 on [0, 1]; error 2^-57.4
ATAN_64 = (
    float.fromhex("-0x1.555555555554ep-2"), float.fromhex("0x1.9999999998db7p-3"),
    float.fromhex("-0x1.249249245c72ep-3"), float.fromhex("0x1.c71c71b78e94fp-4"),
    float.fromhex("-0x1.745d15ea8c310p-4"), float.fromhex("0x1.3b139d1a57f5ep-4"),
    float.fromhex("-0x1.11103ded9b578p-4"), float.fromhex("0x1.e1d51d799c953p-5"),
    float.fromhex("-0x1.aedd3689ff3e6p-5"), float.fromhex("0x1.84bf44320ba60p-5"),
    float.fromhex("-0x1.5f44711680bbfp-5"), float.fromhex("0x1.394f1d26aad86p-5"),
    float.fromhex("-0x1.0d1c676296d53p-5"), float.fromhex("0x1.adff28f2fd95dp-6"),
    float.fromhex("-0x1.32b0056647b5dp-6"), float.fromhex("0x1.75d22e367b946p-7"),
    float.fromhex("-0x1.73b15626694d3p-8"), float.fromhex("0x1.1db8ad21f1c3dp-9"),
    float.fromhex("-0x1.3bbacde575ef1p-11"), float.fromhex("0x1.bb94db1529e67p-14"),
    float.fromhex("-0x1.2854014b0835dp-17"),
)

# (sinh(x)/x - 1) / z, z = x^2 on [0, 1]; error 2^-61.7
SINH_64 = (
    float.fromhex("0x1.5555555555556p-3"), float.fromhex("0x1.1111111111020p-7"),
    float.fromhex("0x1.a01a01a036c6cp-13"), float.fromhex("0x1.71de3a3b6a262p-19"),
    float.fromhex("0x1.ae646f97fd85fp-26"), float.fromhex("0x1.61171ceeb5ad3p-33"),
    float.fromhex("0x1.b5bb71881c800p-41"),
)

# erf(x)/x - 1, z = x^2 on [0, 1]; error 2^-56.2
ERF_64 = (
    float.fromhex("0x1.06eba8214db69p-3"), float.fromhex("-0x1.812746b037a27p-2"),
    float.fromhex("0x1.ce2f21a045b91p-4"), float.fromhex("-0x1.b82ce313666a2p-6"),
    float.fromhex("0x1.565bcd2fae305p-8"), float.fromhex("-0x1.c02db9e2b6742p-11"),
    float.fromhex("0x1.f9a3cfb324e9cp-14"), float.fromhex("-0x1.f4dec68f821f7p-17"),
    float.fromhex("0x1.ba824c2151ba5p-20"), float.fromhex("-0x1.64732188cebf5p-23"),
    float.fromhex("0x1.181d35b47cf56p-26"), float.fromhex("-0x1.e4ccddacf135ep-30"),
    float.fromhex("0x1.687e149ae6ff8p-33"),
)

# exp(x^2) erfc(x) (x + 2) - 1 + t/2, t = (x - 2)/(x + 2) on [-1, 0.86667]; error 2^-55.4
ERFC_64 = (
    float.fromhex("0x1.619c6d4b1dd7cp-6"), float.fromhex("-0x1.7f4e19d53bfe2p-3"),
    float.fromhex("0x1.1e2deea6b1165p-2"), float.fromhex("-0x1.2a88e6107d804p-5"),
    float.fromhex("-0x1.606e415525c60p-6"), float.fromhex("0x1.a89eaff89e08fp-8"),
    float.fromhex("0x1.9517bb6d41ee8p-9"), float.fromhex("-0x1.b6fbf9b4984d6p-11"),
    float.fromhex("-0x1.5ba4379fc10c2p-11"), float.fromhex("0x1.2054212c9ab09p-15"),
    float.fromhex("0x1.2efa148546c6ap-13"), float.fromhex("0x1.1e7607fa10684p-15"),
    float.fromhex("-0x1.6bfe062b36788p-16"), float.fromhex("-0x1.0e7592cde85bdp-16"),
    float.fromhex("-0x1.2ebbbe6a7cda8p-20"), float.fromhex("0x1.e8ef0ce3454eep-19"),
    float.fromhex("0x1.0d83e5e9f8bbap-19"), float.fromhex("0x1.477ecafbe750dp-28"),
    float.fromhex("-0x1.391597e5bd31dp-21"), float.fromhex("-0x1.6281288e28d21p-22"),
    float.fromhex("0x1.a1e9b11a50207p-27"), float.fromhex("0x1.fca329d02548ap-24"),
    float.fromhex("0x1.8531de4f0acf1p-25"), float.fromhex("-0x1.25cd78d556d15p-26"),
    float.fromhex("-0x1.cdb732293c13dp-27"), float.fromhex("0x1.2ed97c8e3b207p-32"),
    float.fromhex("0x1.3c619fe82d1dap-30"),
)

# erfinv(x)/x - 0.875 - w/4, w = -log(1 - x^2), u = w - 3.125 on [-3.125, 3.125]; error 2^-57.7
ERFINV_NEAR_64 = (
    float.fromhex("-0x1.54306cca2f42bp-9"), float.fromhex("-0x1.427f264ec2064p-7"),
    float.fromhex("-0x1.8b6c33114ead6p-8"), float.fromhex("-0x1.84576948356a9p-11"),
    float.fromhex("0x1.879c2a20b5296p-13"), float.fromhex("-0x1.d1d1f7ca22414p-17"),
    float.fromhex("-0x1.6e8a53cde9562p-20"), float.fromhex("0x1.c6b4f88bf0823p-22"),
    float.fromhex("-0x1.f36ced46835bbp-26"), float.fromhex("-0x1.1a9eb0f0ae7d8p-28"),
    float.fromhex("0x1.20f5363e205a9p-30"), float.fromhex("-0x1.dc3f13735e24dp-35"),
    float.fromhex("-0x1.c8a3f9132c43ap-37"), float.fromhex("0x1.7235dfa2c99e7p-39"),
    float.fromhex("-0x1.6bdbe677013e7p-44"), float.fromhex("-0x1.686e5c609110bp-45"),
    float.fromhex("0x1.d6c6e9e9c8459p-48"), float.fromhex("-0x1.6fd1653eda878p-55"),
    float.fromhex("-0x1.1ca75ec45151ap-53"), float.fromhex("0x1.1ec274ddb86cfp-56"),
    float.fromhex("0x1.9aa7c9c1a12d9p-61"), float.fromhex("-0x1.9bc0a1844c012p-62"),
    float.fromhex("0x1.386879076a787p-66"), float.fromhex("0x1.e6818c645e609p-69"),
    float.fromhex("-0x1.6adbfac940abep-72"),
)

# erfinv(x)/x - sqrt(w), w = -log(1 - x^2), u = sqrt(w) - 3.25 on [-0.75, 0.75]; error 2^-58.4
ERFINV_FAR_64 = (
    float.fromhex("-0x1.5433c7f2a5b83p-3"), float.fromhex("0x1.58a6d641d54a8p-8"),
    float.fromhex("0x1.5ffcfe5b6cd82p-8"), float.fromhex("-0x1.ebadabba02370p-9"),
    float.fromhex("0x1.468eeca94292ep-9"), float.fromhex("-0x1.ba9240d897b0dp-10"),
    float.fromhex("0x1.f3cc545e6afabp-11"), float.fromhex("-0x1.7448bcc1884fep-12"),
    float.fromhex("0x1.932e8ea1faa0bp-16"), float.fromhex("0x1.1e6abb029592bp-14"),
    float.fromhex("-0x1.8cf45f4086901p-15"), float.fromhex("0x1.a241e73824491p-17"),
    float.fromhex("0x1.8999954008620p-19"), float.fromhex("-0x1.0b7a98ee495edp-18"),
    float.fromhex("0x1.8dbbf0d6e9562p-20"), float.fromhex("-0x1.d955cb834ce2ap-26"),
    float.fromhex("-0x1.07baa0ec272d7p-22"), float.fromhex("0x1.1a7480fb22f01p-23"),
    float.fromhex("-0x1.659526cd1881ep-26"), float.fromhex("-0x1.0691e1ff16675p-26"),
    float.fromhex("0x1.06a5f17e60903p-27"),
)

# erfinv(x)/x - sqrt(w), w = -log(1 - x^2), u = sqrt(w) - 5 on [-1, 1.1]; error 2^-58.7
ERFINV_TAIL_64 = (
    float.fromhex("-0x1.336445ca500a3p-3"), float.fromhex("0x1.51868fdd085b2p-7"),
    float.fromhex("-0x1.22ea5df1cd109p-13"), float.fromhex("-0x1.c2f36aa171ac3p-13"),
    float.fromhex("0x1.3ebf4efb5a40ap-14"), float.fromhex("-0x1.4a3490378996fp-16"),
    float.fromhex("0x1.2fbcfd5ce6941p-18"), float.fromhex("-0x1.0a903a01a223ep-20"),
    float.fromhex("0x1.ebe3389366d8ep-23"), float.fromhex("-0x1.2236a37dac0dep-24"),
    float.fromhex("0x1.f286eedbd0c28p-26"), float.fromhex("-0x1.0576852243d5fp-26"),
    float.fromhex("0x1.0cc69c5a5d619p-27"), float.fromhex("-0x1.e492c1d32d376p-29"),
    float.fromhex("0x1.6977606af0daep-30"), float.fromhex("-0x1.ab1236182aa66p-32"),
    float.fromhex("0x1.344ffff3e62dep-34"), float.fromhex("0x1.45cde2c2066e6p-36"),
    float.fromhex("-0x1.68d0c35d3b219p-36"), float.fromhex("0x1.664a0805a057ep-38"),
)
