"""Plain scenes for the tests: every spread switched off unless a test asks for it."""

from dataclasses import replace

import pytest

from atomseg.simulate import (
    BackgroundConfig,
    DefectConfig,
    DetectorConfig,
    DomainConfig,
    FaultConfig,
    FoilConfig,
    LatticeConfig,
    LayerConfig,
    OpticsConfig,
    ScanConfig,
    SceneConfig,
    SurfaceConfig,
)


def fixed(value):
    return (value, value)


def _plain_config(**parts):
    """A perfect bulk crystal, 45 pm columns, 20 pm pixels, 1e7 counts a column: noise is negligible."""
    config = SceneConfig(
        shape=(256, 256),
        p_cathode=1.0,
        p_other=0.0,
        p_nothing=0.0,
        lattice=LatticeConfig(
            a_nm=fixed(0.2872),
            c_nm=fixed(1.4205),
            senses=(1,),
            strain_rms=fixed(0.0),
            displacement_pm=fixed(0.0),
            antisite=fixed(0.0),
            exponent=fixed(1.7),
            mixing_exponent=fixed(1.0),
        ),
        surface=SurfaceConfig(
            p_none=1.0, p_edge=0.0, p_crack=0.0, roughness_nm=fixed(0.0), p_stepped=0.0, p_cover=0.0, offset=fixed(-0.5)
        ),
        layer=LayerConfig(p_layer=0.0, p_patchy=0.0, p_mixed=0.0, p_stepped=0.0, roughness_nm=fixed(0.0)),
        faults=FaultConfig(p_bulk=0.0, p_layer=0.0, p_hybrid=0.0),
        defects=DefectConfig(
            p_vacancies=0.0, p_missing=0.0, p_bending=0.0, p_dislocations=0.0, p_tetrahedral=0.0, p_overlap=0.0
        ),
        domains=DomainConfig(p_twin=0.0, p_variant=0.0, p_grain=0.0),
        foil=FoilConfig(
            thickness_nm=fixed(12.0), wedge=fixed(0.0), edge_thickness_nm=fixed(12.0), variation=fixed(0.0)
        ),
        optics=OpticsConfig(
            core_sigma_pm=fixed(45.0),
            ellipticity=fixed(1.0),
            tail_sigma_nm=fixed(0.2),
            tail_per_nm=fixed(0.04),
            saturation_nm=fixed(10.0),
            oxygen_scale=fixed(1.0),
            p_wide=0.0,
            p_mistilt=0.0,
        ),
        background=BackgroundConfig(level=fixed(0.05), slope=fixed(0.0), p_step=0.0, p_film=0.0, p_surface_step=0.0),
        scan=ScanConfig(
            pixel_size_nm=fixed(0.02),
            anisotropy=fixed(0.0),
            shear=fixed(0.0),
            bend_nm=fixed(0.0),
            jitter_pm=fixed(0.0),
            p_wobble=0.0,
            p_flyback=0.0,
            p_jump=0.0,
        ),
        detector=DetectorConfig(
            counts=fixed(1e7),
            p_usual=0.0,
            excess_noise=fixed(1.0),
            read_noise=fixed(0.0),
            offset=fixed(0.0),
            gain=fixed(1.0),
            formats=("float32",),
            p_clipped=0.0,
            p_gamma=0.0,
            p_afterglow=0.0,
            p_frames=0.0,
            p_ramp=0.0,
            p_filter=0.0,
        ),
    )
    values = {k: replace(getattr(config, k), **v) if isinstance(v, dict) else v for k, v in parts.items()}
    return replace(config, **values)


@pytest.fixture(scope="session")
def plain_config():
    """Function that makes a plain configuration; parts change by name: ``plain_config(layer={"p_layer": 1.0})``."""
    return _plain_config
