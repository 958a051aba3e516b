/* Compiled peers: DOP853 written for this benchmark, and CVODE of SUNDIALS. Both stop exactly at every jump and output.
   The right-hand side `rhs` and the Jacobian `jacobian` are generated from the equations and stand above this text. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const double *q, *infusion;
    double age;
    long calls;
} problem;

static void slope(double t, const double *x, problem *p, double *dx) {
    p->calls++;
    rhs(p->age + t, x, p->infusion, p->q, dx);
}

/* ---- DOP853 (Hairer, Norsett, Wanner), coefficients generated into RK_A ... RK_E5 ---- */

typedef struct {
    double K[13][NEQ], y[NEQ], next[NEQ];
    double restart; /* first step accepted after the last jump: where to begin after the next one */
} dop853;

static double size_of(const double *K5, const double *K3, const double *x, const double *y, double h, double rtol,
                      const double *atol) {
    double fifth = 0, third = 0;
    for (int i = 0; i < NEQ; i++) {
        double scale = atol[i] + rtol * fmax(fabs(x[i]), fabs(y[i]));
        fifth += (K5[i] / scale) * (K5[i] / scale);
        third += (K3[i] / scale) * (K3[i] / scale);
    }
    if (fifth == 0 && third == 0) return 0;
    return fabs(h) * fifth / sqrt((fifth + 0.01 * third) * NEQ);
}

static int dop853_to(dop853 *w, problem *p, double *x, double t, double end, double rtol, const double *atol,
                     int fresh, double *h_last) {
    double h = fresh ? w->restart : *h_last;
    int first = fresh;
    slope(t, x, p, w->K[0]);
    while (end - t > 1e-13 * fmax(1.0, fabs(end))) {
        int clipped = h >= end - t;
        double wanted = h;
        if (clipped) h = end - t;
        for (int s = 1; s < 12; s++) {
            for (int i = 0; i < NEQ; i++) w->y[i] = 0;
            for (int j = 0; j < s; j++) {
                double a = RK_A[s][j];
                if (a != 0)
                    for (int i = 0; i < NEQ; i++) w->y[i] += a * w->K[j][i];
            }
            for (int i = 0; i < NEQ; i++) w->y[i] = x[i] + h * w->y[i];
            slope(t + RK_C[s] * h, w->y, p, w->K[s]);
        }
        double e5[NEQ], e3[NEQ];
        for (int i = 0; i < NEQ; i++) e5[i] = e3[i] = w->next[i] = 0;
        for (int j = 0; j < 12; j++)
            for (int i = 0; i < NEQ; i++) {
                w->next[i] += RK_B[j] * w->K[j][i];
                e5[i] += RK_E5[j] * w->K[j][i];
                e3[i] += RK_E3[j] * w->K[j][i];
            }
        for (int i = 0; i < NEQ; i++) w->next[i] = x[i] + h * w->next[i];
        double error = size_of(e5, e3, x, w->next, h, rtol, atol);
        if (!isfinite(error)) return 1;
        double factor = error == 0 ? 6.0 : fmin(6.0, fmax(0.333, 0.9 * pow(error, -0.125)));
        if (error > 1) {
            h *= fmin(factor, 1.0);
            if (h < 1e-14) return 1;
            continue;
        }
        if (first && !clipped) w->restart = h;
        first = 0;
        t = clipped ? end : t + h;
        memcpy(x, w->next, sizeof w->next);
        h = clipped ? fmax(wanted, h * factor) : h * factor;
        if (end - t > 0) slope(t, x, p, w->K[0]);
    }
    *h_last = h;
    return 0;
}

/* ---- CVODE ---- */
#ifdef WITH_CVODE
#include <cvode/cvode.h>
#include <nvector/nvector_serial.h>
#include <sundials/sundials_version.h>
#include <sunlinsol/sunlinsol_dense.h>
#include <sunmatrix/sunmatrix_dense.h>
#include <sunnonlinsol/sunnonlinsol_fixedpoint.h>

static int cv_rhs(double t, N_Vector x, N_Vector dx, void *user) {
    slope(t, N_VGetArrayPointer(x), user, N_VGetArrayPointer(dx));
    return 0;
}

static int cv_jacobian(double t, N_Vector x, N_Vector fx, SUNMatrix J, void *user, N_Vector a, N_Vector b, N_Vector c) {
    problem *p = user;
    (void)fx, (void)a, (void)b, (void)c;
    jacobian(p->age + t, N_VGetArrayPointer(x), p->infusion, p->q, SUNDenseMatrix_Data(J));
    return 0;
}

typedef struct {
    SUNContext context;
    void *memory;
    N_Vector x, atol;
    SUNMatrix J;
    SUNLinearSolver linear;
    SUNNonlinearSolver fixed;
} cvode;

static int cvode_open(cvode *w, problem *p, int adams, double rtol, const double *atol) {
#if SUNDIALS_VERSION_MAJOR >= 7
    SUNContext_Create(SUN_COMM_NULL, &w->context);
#else
    SUNContext_Create(NULL, &w->context);
#endif
    w->x = N_VNew_Serial(NEQ, w->context);
    w->atol = N_VNew_Serial(NEQ, w->context);
    N_VConst(0.0, w->x);
    memcpy(N_VGetArrayPointer(w->atol), atol, NEQ * sizeof(double));
    w->memory = CVodeCreate(adams ? CV_ADAMS : CV_BDF, w->context);
    if (!w->memory || CVodeInit(w->memory, cv_rhs, 0.0, w->x)) return 1;
    CVodeSVtolerances(w->memory, rtol, w->atol);
    CVodeSetUserData(w->memory, p);
    CVodeSetMaxNumSteps(w->memory, 10000000);
    CVodeSetErrFile(w->memory, NULL);
    w->J = NULL, w->linear = NULL, w->fixed = NULL;
    if (adams) {
        w->fixed = SUNNonlinSol_FixedPoint(w->x, 0, w->context);
        return CVodeSetNonlinearSolver(w->memory, w->fixed);
    }
    w->J = SUNDenseMatrix(NEQ, NEQ, w->context);
    w->linear = SUNLinSol_Dense(w->x, w->J, w->context);
    return CVodeSetLinearSolver(w->memory, w->linear, w->J) || CVodeSetJacFn(w->memory, cv_jacobian);
}

static void cvode_close(cvode *w) {
    CVodeFree(&w->memory);
    if (w->linear) SUNLinSolFree(w->linear);
    if (w->J) SUNMatDestroy(w->J);
    if (w->fixed) SUNNonlinSolFree(w->fixed);
    N_VDestroy(w->x);
    N_VDestroy(w->atol);
    SUNContext_Free(&w->context);
}

static int cvode_to(cvode *w, double *x, double t, double end, int fresh) {
    double *held = N_VGetArrayPointer(w->x), reached;
    if (fresh) {
        memcpy(held, x, NEQ * sizeof(double));
        if (CVodeReInit(w->memory, t, w->x)) return 1;
    }
    CVodeSetStopTime(w->memory, end);
    if (CVode(w->memory, end, w->x, &reached, CV_NORMAL) < 0) return 1;
    memcpy(x, held, NEQ * sizeof(double));
    return 0;
}
#endif

enum { METHOD_DOP853, METHOD_CVODE_ADAMS, METHOD_CVODE_BDF };

int has_cvode(void) {
#ifdef WITH_CVODE
    return 1;
#else
    return 0;
#endif
}

/* One segment for each patient in turn. Patients are the slow axis here: every array is [P][...].
   Returns the number of patients that failed; calls: right-hand sides in all. */
int segment(int method, int patients, int events, int outputs, int drugs, int constants, double begin, double end,
            const double *age, const double *q, const double *event_time, const int *event_row,
            const double *event_value, const double *output_time, double *x, double *infusion, double *restart,
            double *out, double rtol, const double *atol, long *calls) {
    int failed = 0;
    problem p = {0};
    dop853 *explicit = malloc(sizeof(dop853));
#ifdef WITH_CVODE
    cvode implicit;
    if (method != METHOD_DOP853 && cvode_open(&implicit, &p, method == METHOD_CVODE_ADAMS, rtol, atol)) return patients;
#else
    if (method != METHOD_DOP853) return patients;
#endif
    for (int k = 0; k < patients; k++) {
        double *y = x + (long)k * NEQ, *rates = infusion + (long)k * drugs, t = begin, h = 0;
        p.q = q + (long)k * constants, p.infusion = rates, p.age = age[k];
        explicit->restart = restart[k];
        int event = 0, output = 0, fresh = 1, bad = 0;
        while (!bad) {
            double jump = event < events ? event_time[(long)k * events + event] : INFINITY;
            double stop = output < outputs ? output_time[output] : end;
            int jumping = jump < stop - 1e-9;
            double to = jumping ? jump : stop;
            if (to > end) to = end;
            if (to - t > 1e-12) {
                if (method == METHOD_DOP853) bad = dop853_to(explicit, &p, y, t, to, rtol, atol, fresh, &h);
#ifdef WITH_CVODE
                else bad = cvode_to(&implicit, y, t, to, fresh);
#endif
                t = to, fresh = 0;
            }
            if (jumping) {
                for (; event < events && event_time[(long)k * events + event] <= jump + 1e-12; event++) {
                    int row = event_row[(long)k * events + event];
                    double value = event_value[(long)k * events + event];
                    if (row >= 0) y[row] += value;
                    else rates[-1 - row] += value;
                }
                fresh = 1;
            } else if (output < outputs) {
                memcpy(out + ((long)k * outputs + output++) * NEQ, y, NEQ * sizeof(double));
            } else if (t >= end - 1e-12) {
                break;
            }
        }
        if (bad) {
            failed++;
            for (int i = 0; i < NEQ; i++) y[i] = NAN;
            for (; output < outputs; output++)
                for (int i = 0; i < NEQ; i++) out[((long)k * outputs + output) * NEQ + i] = NAN;
        }
        restart[k] = explicit->restart;
    }
    *calls += p.calls;
    free(explicit);
#ifdef WITH_CVODE
    if (method != METHOD_DOP853) cvode_close(&implicit);
#endif
    return failed;
}
